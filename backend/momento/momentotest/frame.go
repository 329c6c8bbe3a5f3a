package momentotest

import (
	"bytes"
	"fmt"

	"github.com/topicbus/pubsub"
)

// Frame is one message of a subscription stream, for [Topic.Send] and
// [Topic.ScriptOpening]. Frames say what they say: they need not agree with
// the topic's numbering, and do not change it.
type Frame struct {
	encode func(*wire) ([]byte, error)
}

// Heartbeat is a heartbeat.
func Heartbeat() Frame {
	return Frame{func(w *wire) ([]byte, error) { return w.heartbeat, nil }}
}

// Discontinuity is a discontinuity: last is the last sequence number known to
// have been attempted (0: unknown), next the announced new one, page the page
// that holds from here on.
func Discontinuity(last, next, page uint64) Frame {
	return Frame{func(w *wire) ([]byte, error) { return w.encodeDiscontinuity(last, next, page) }}
}

// Item is a message at any position.
func Item(at pubsub.Position, p pubsub.Payload) Frame {
	return Frame{func(w *wire) ([]byte, error) { return w.encodeItem(at, w.newValue(p), "") }}
}

// ItemWithoutValue is an item that lacks the value.
func ItemWithoutValue(at pubsub.Position) Frame {
	return Frame{func(w *wire) ([]byte, error) { return w.encodeItem(at, nil, "") }}
}

// ItemOfUnknownKind is an item whose value is neither text nor binary, but of
// a kind that later versions of the protocol may know.
func ItemOfUnknownKind(at pubsub.Position) Frame {
	return Frame{func(w *wire) ([]byte, error) {
		value := w.value.New()
		value.SetUnknown(unknownField())
		return w.encodeItem(at, value, "")
	}}
}

// ItemOfInvalidText is an item whose text is not valid UTF-8, which clients
// cannot decode. The service takes no such text; what stands between may make it.
func ItemOfInvalidText(at pubsub.Position) Frame {
	return Frame{func(w *wire) ([]byte, error) {
		const placeholder, invalid = "invalid", "\xff\xfe\xfd\xfc\xfb\xfa\xf9"
		b, err := w.encodeItem(at, w.newValue(pubsub.Payload{Format: pubsub.Text, Data: []byte(placeholder)}), "")
		return bytes.Replace(b, []byte(placeholder), []byte(invalid), 1), err
	}}
}

// UnknownKind is a frame that is neither item nor discontinuity nor
// heartbeat, but of a kind that later versions of the protocol may know.
func UnknownKind() Frame { return Raw(unknownField()) }

// Raw is a frame of any bytes; they are sent as the message of the stream.
func Raw(b []byte) Frame {
	b = bytes.Clone(b)
	return Frame{func(*wire) ([]byte, error) { return b, nil }}
}

func (s *Server) encode(frames []Frame) (opening, error) {
	out := make(opening, len(frames))
	for i, f := range frames {
		b, err := f.encode(s.wire)
		if err != nil {
			return nil, fmt.Errorf("momentotest: frame %d cannot be encoded: %w", i, err)
		}
		out[i] = b
	}
	return out, nil
}
