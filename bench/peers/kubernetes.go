package peers

import (
	"github.com/topicbus/pubsub/bench/shape"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

func kubernetes() Peer {
	return Peer{
		Contender: shape.Contender[[]byte]{Name: "k8s-watch", Open: openKubernetes},
		Module:    "k8s.io/apimachinery/pkg/watch",
		Stuck:     Blocks,
		Bubble:    true,
		Loss:      "DropIfChannelFull drops silently",
		Resume:    "no; a prefix of one's own making",
		Remarks: "A Broadcaster with a long queue, and WaitIfChannelFull. No topics: a Broadcaster for each here. " +
			"What is published must be a runtime.Object.",
	}
}

// kubernetesObject is a runtime.Object, as this broadcaster wants it.
type kubernetesObject struct{ body []byte }

func (*kubernetesObject) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

func (o *kubernetesObject) DeepCopyObject() runtime.Object { return &kubernetesObject{o.body} }

type kubernetesSystem struct {
	topics []*watch.Broadcaster
	readers
}

func openKubernetes(f shape.Fleet) (shape.System[[]byte], error) {
	k := new(kubernetesSystem)
	for range f.Topics {
		k.topics = append(k.topics, watch.NewLongQueueBroadcaster(buffer, watch.WaitIfChannelFull))
	}
	return k, nil
}

func (k *kubernetesSystem) Subscribe(topic int, s *shape.Sink[[]byte]) error {
	w, err := k.topics[topic].Watch()
	if err != nil {
		return err
	}
	read(&k.readers, w.ResultChan(), func(e watch.Event) { s.Take(e.Object.(*kubernetesObject).body) })
	return nil
}

func (k *kubernetesSystem) Publish(topic int, v []byte) error {
	return k.topics[topic].Action(watch.Added, &kubernetesObject{v})
}

func (k *kubernetesSystem) Close() error {
	for _, topic := range k.topics {
		topic.Shutdown()
	}
	k.Wait()
	return nil
}
