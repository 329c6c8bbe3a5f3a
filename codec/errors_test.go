package codec_test

import (
	"context"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// The Bus says whether it encoded or decoded, so the codecs do not.
func TestErrorsSayOnceWhatFailed(t *testing.T) {
	errorsSayOnce(t, codec.JSON[map[string]any](), "codec.JSON[map[string]interface {}]", map[string]any{"a": func() {}})
	errorsSayOnce(t, codec.Text[*big.Int](), "codec.Text[*big.Int]", nil)
	errorsSayOnce(t, codec.Text[faulty](), "codec.Text[codec_test.faulty]", faulty{})
	errorsSayOnce(t, codec.Func[int](nil, nil), "codec.Func[int]", 1)
}

// faulty can be neither marshaled nor unmarshaled.
type faulty struct{}

func (faulty) MarshalText() ([]byte, error) { return nil, errBoom }
func (*faulty) UnmarshalText([]byte) error  { return errBoom }

// errorsSayOnce tests the errors of a codec that can neither encode v nor
// decode "?".
func errorsSayOnce[T any](t *testing.T, c pubsub.Codec[T], name string, v T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b := memory.New()
	bus := pubsub.New(b, c)
	defer bus.Close()
	sub, err := bus.Subscribe(ctx, "a")
	require.NoError(t, err)

	saysOnce(t, bus.Publish(ctx, "a", v), "encode", name)

	require.NoError(t, b.Publish(ctx, "a", pubsub.Payload{Format: pubsub.Text, Data: []byte("?")}))
	ev, err := sub.Next(ctx)
	require.NoError(t, err)
	require.NotNil(t, ev.Discontinuity)
	saysOnce(t, ev.Discontinuity.Err, "decode", name)
}

func saysOnce(t *testing.T, err error, what, name string) {
	t.Helper()
	require.ErrorIs(t, err, pubsub.ErrCodec)
	require.ErrorContains(t, err, what+": "+name+": ")
	require.Equal(t, 1, strings.Count(err.Error(), what+":"), "%v", err)
}
