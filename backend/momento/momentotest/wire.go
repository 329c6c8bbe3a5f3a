package momentotest

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	// Registers the message types of the protocol. A second copy of them in
	// one program panics at start, so they are looked up by name.
	_ "github.com/momentohq/client-sdk-go/momento"

	"github.com/topicbus/pubsub"
)

type (
	message = protoreflect.Message
	field   = protoreflect.FieldDescriptor
)

// wire is the typed side of the SDK's generated messages, which cannot be
// imported. Their types and fields are looked up once.
type wire struct {
	publish struct {
		protoreflect.MessageType
		cache, topic, value field
	}
	subscribe struct {
		protoreflect.MessageType
		cache, topic, resumeAt, page field
	}
	createCache, deleteCache struct {
		protoreflect.MessageType
		cache field
	}
	frame struct {
		protoreflect.MessageType
		item, discontinuity, heartbeat field
	}
	item struct {
		protoreflect.MessageType
		sequence, value, publisher, page field
	}
	value struct {
		protoreflect.MessageType
		kind         protoreflect.OneofDescriptor
		text, binary field
	}
	discontinuity struct {
		protoreflect.MessageType
		last, next, page field
	}
	heartbeat []byte // the frame, encoded
}

func newWire() (*wire, error) {
	var l lookup
	w := &wire{}
	const pubsubPackage, controlPackage = "cache_client.pubsub.", "control_client."

	w.publish.MessageType = l.message(pubsubPackage + "_PublishRequest")
	w.publish.cache = l.field(w.publish, "cache_name")
	w.publish.topic = l.field(w.publish, "topic")
	w.publish.value = l.field(w.publish, "value")

	w.subscribe.MessageType = l.message(pubsubPackage + "_SubscriptionRequest")
	w.subscribe.cache = l.field(w.subscribe, "cache_name")
	w.subscribe.topic = l.field(w.subscribe, "topic")
	w.subscribe.resumeAt = l.field(w.subscribe, "resume_at_topic_sequence_number")
	w.subscribe.page = l.field(w.subscribe, "sequence_page")

	w.createCache.MessageType = l.message(controlPackage + "_CreateCacheRequest")
	w.createCache.cache = l.field(w.createCache, "cache_name")
	w.deleteCache.MessageType = l.message(controlPackage + "_DeleteCacheRequest")
	w.deleteCache.cache = l.field(w.deleteCache, "cache_name")

	w.frame.MessageType = l.message(pubsubPackage + "_SubscriptionItem")
	w.frame.item = l.field(w.frame, "item")
	w.frame.discontinuity = l.field(w.frame, "discontinuity")
	w.frame.heartbeat = l.field(w.frame, "heartbeat")

	w.item.MessageType = l.message(pubsubPackage + "_TopicItem")
	w.item.sequence = l.field(w.item, "topic_sequence_number")
	w.item.value = l.field(w.item, "value")
	w.item.publisher = l.field(w.item, "publisher_id")
	w.item.page = l.field(w.item, "sequence_page")

	w.value.MessageType = l.message(pubsubPackage + "_TopicValue")
	w.value.text = l.field(w.value, "text")
	w.value.binary = l.field(w.value, "binary")

	w.discontinuity.MessageType = l.message(pubsubPackage + "_Discontinuity")
	w.discontinuity.last = l.field(w.discontinuity, "last_topic_sequence")
	w.discontinuity.next = l.field(w.discontinuity, "new_topic_sequence")
	w.discontinuity.page = l.field(w.discontinuity, "new_sequence_page")

	if l.err != nil {
		return nil, fmt.Errorf("momentotest: the SDK's protocol messages are not as expected: %w", l.err)
	}
	w.value.kind = w.value.text.ContainingOneof()
	heartbeat, err := w.encodeFrame(w.frame.heartbeat, w.frame.New().NewField(w.frame.heartbeat).Message())
	if err != nil {
		return nil, err
	}
	w.heartbeat = heartbeat
	return w, nil
}

// lookup finds types and fields by name and keeps the first error.
type lookup struct{ err error }

func (l *lookup) message(name protoreflect.FullName) protoreflect.MessageType {
	if l.err != nil {
		return nil
	}
	typ, err := protoregistry.GlobalTypes.FindMessageByName(name)
	if err != nil {
		l.err = fmt.Errorf("message %s: %w", name, err)
	}
	return typ
}

func (l *lookup) field(typ protoreflect.MessageType, name protoreflect.Name) field {
	if l.err != nil {
		return nil
	}
	fd := typ.Descriptor().Fields().ByName(name)
	if fd == nil {
		l.err = fmt.Errorf("message %s has no field %s", typ.Descriptor().FullName(), name)
	}
	return fd
}

func (w *wire) encodeFrame(kind field, content message) ([]byte, error) {
	m := w.frame.New()
	m.Set(kind, protoreflect.ValueOfMessage(content))
	return proto.Marshal(m.Interface())
}

// encodeItem encodes a frame with an item. A nil value makes one without.
func (w *wire) encodeItem(at pubsub.Position, value message, publisher string) ([]byte, error) {
	m := w.item.New()
	m.Set(w.item.sequence, protoreflect.ValueOfUint64(at.Sequence))
	m.Set(w.item.page, protoreflect.ValueOfUint64(at.Page))
	if value != nil {
		m.Set(w.item.value, protoreflect.ValueOfMessage(value))
	}
	if publisher != "" {
		m.Set(w.item.publisher, protoreflect.ValueOfString(publisher))
	}
	return w.encodeFrame(w.frame.item, m)
}

func (w *wire) encodeDiscontinuity(last, next, page uint64) ([]byte, error) {
	m := w.discontinuity.New()
	m.Set(w.discontinuity.last, protoreflect.ValueOfUint64(last))
	m.Set(w.discontinuity.next, protoreflect.ValueOfUint64(next))
	m.Set(w.discontinuity.page, protoreflect.ValueOfUint64(page))
	return w.encodeFrame(w.frame.discontinuity, m)
}

// decodeItem takes an item out of an encoded frame.
func (w *wire) decodeItem(frame []byte) (pubsub.Message[pubsub.Payload], error) {
	m := w.frame.New()
	if err := proto.Unmarshal(frame, m.Interface()); err != nil {
		return pubsub.Message[pubsub.Payload]{}, err
	}
	item := m.Get(w.frame.item).Message()
	return pubsub.Message[pubsub.Payload]{
		Value:     w.payload(item.Get(w.item.value).Message()),
		Publisher: item.Get(w.item.publisher).String(),
		Position: pubsub.Position{
			Page:     item.Get(w.item.page).Uint(),
			Sequence: item.Get(w.item.sequence).Uint(),
		},
	}, nil
}

func (w *wire) newValue(p pubsub.Payload) message {
	m := w.value.New()
	if p.Format == pubsub.Text {
		m.Set(w.value.text, protoreflect.ValueOfString(string(p.Data)))
	} else {
		m.Set(w.value.binary, protoreflect.ValueOfBytes(p.Data))
	}
	return m
}

// payload returns the zero Payload for a value of no known kind.
func (w *wire) payload(value message) pubsub.Payload {
	switch value.WhichOneof(w.value.kind) {
	case w.value.text:
		return pubsub.Payload{Format: pubsub.Text, Data: []byte(value.Get(w.value.text).String())}
	case w.value.binary:
		return pubsub.Payload{Format: pubsub.Binary, Data: value.Get(w.value.binary).Bytes()}
	default:
		return pubsub.Payload{}
	}
}

// size returns how many bytes of payload the value holds.
func (w *wire) size(value message) int {
	switch value.WhichOneof(w.value.kind) {
	case w.value.text:
		return len(value.Get(w.value.text).String())
	case w.value.binary:
		return len(value.Get(w.value.binary).Bytes())
	default:
		return 0
	}
}

// unknownField is the encoding of a field that no message of the protocol has.
func unknownField() []byte {
	return protowire.AppendString(protowire.AppendTag(nil, 1000, protowire.BytesType), "unknown")
}

// codec lets streams send frames that were encoded once, when they were
// published, and decodes requests into the SDK's messages.
type codec struct{}

// encoded is an encoded message. It is never modified.
type encoded []byte

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) ([]byte, error) {
	if b, ok := v.(encoded); ok {
		return b, nil
	}
	return nil, fmt.Errorf("momentotest: cannot encode %T", v)
}

func (codec) Unmarshal(data []byte, v any) error {
	return proto.Unmarshal(data, v.(proto.Message))
}
