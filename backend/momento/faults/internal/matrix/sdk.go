package matrix

import (
	"context"

	"github.com/momentohq/client-sdk-go/auth"
	"github.com/momentohq/client-sdk-go/config"
	"github.com/momentohq/client-sdk-go/config/logger"
	sdk "github.com/momentohq/client-sdk-go/momento"

	"github.com/topicbus/pubsub"
)

// sdkClient is the official SDK, used as its documentation shows: with the
// default configuration (but for the logger, which keeps quiet), and a loop
// over Event that ends when Event fails.
type sdkClient struct{ sdk.TopicClient }

func newSDKClient(p auth.CredentialProvider) (*sdkClient, error) {
	c, err := sdk.NewTopicClient(config.TopicsDefaultWithLogger(logger.NewNoopMomentoLoggerFactory()), p)
	return &sdkClient{c}, err
}

func (c *sdkClient) subscribe(ctx context.Context, topic string, j *journal) (reader, error) {
	s, err := c.Subscribe(ctx, &sdk.TopicSubscribeRequest{CacheName: cacheName, TopicName: topic})
	if err != nil {
		return nil, err
	}
	go func() {
		// On a topic that has messages already, the first discontinuity names
		// the page, and nothing is lost.
		first := true
		for {
			ev, err := s.Event(ctx)
			if err != nil {
				j.end(err)
				return
			}
			switch ev := ev.(type) {
			case sdk.TopicItem:
				first = false
				e := entry{at: pubsub.Position{Page: ev.GetTopicSequencePage(), Sequence: ev.GetTopicSequenceNumber()}}
				switch v := ev.GetValue().(type) {
				case sdk.String:
					e.payload = pubsub.Payload{Format: pubsub.Text, Data: []byte(v)}
				case sdk.Bytes:
					e.payload = pubsub.Payload{Format: pubsub.Binary, Data: v}
				}
				j.add(e)
			case sdk.TopicDiscontinuity:
				if !first {
					// It says where messages go on, from which an application
					// may learn how many it missed if it keeps count itself.
					j.add(entry{hole: &pubsub.Discontinuity{}})
				}
				first = false
			}
		}
	}()
	return sdkReader{s}, nil
}

type sdkReader struct{ sdk.TopicSubscription }

func (r sdkReader) close() { r.Close() }

func (c *sdkClient) publish(ctx context.Context, topic string, p pubsub.Payload) error {
	r := &sdk.TopicPublishRequest{CacheName: cacheName, TopicName: topic, Value: sdk.Bytes(p.Data)}
	if p.Format == pubsub.Text {
		r.Value = sdk.String(p.Data)
	}
	_, err := c.Publish(ctx, r)
	return err
}

func (c *sdkClient) close() { c.Close() }
