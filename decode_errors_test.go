package pubsub_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/codec"
)

// What a codec says of a payload may quote all of it. Errors, the log and Stats
// have a part at most, without control characters, and errors.As has the cause.
func TestDecodeErrorsAreBounded(t *testing.T) {
	secret := "SECRET-4111-1111\x1b[31m\r\n" + strings.Repeat("x", 4000) + "SECRET-END"
	quoted, err := json.Marshal(secret)
	require.NoError(t, err)
	var wrongType *json.UnmarshalTypeError
	decodeErrorIsBounded(t, "number", codec.JSON[int](), strings.Repeat("9", 4000), &wrongType)
	decodeErrorIsBounded(t, "number, per subscription", codec.JSON[[]int](), "["+strings.Repeat("9", 4000)+"]", &wrongType)
	var noTime *time.ParseError
	decodeErrorIsBounded(t, "time", codec.JSON[time.Time](), string(quoted), &noTime)
	var any error
	decodeErrorIsBounded(t, "address", codec.Text[netip.Addr](), secret, &any)
	decodeErrorIsBounded(t, "panic", codec.Func(codec.String().Encode, func(p pubsub.Payload) (string, error) { panic(string(p.Data)) }), secret, &any)
	own := fmt.Errorf("%w: %w", pubsub.ErrCodec, &ownError{secret})
	var found *ownError
	decodeErrorIsBounded(t, "own", codec.Func(codec.String().Encode, func(pubsub.Payload) (string, error) { return "", own }), secret, &found)
}

type ownError struct{ text string }

func (e *ownError) Error() string { return e.text }

func decodeErrorIsBounded[T any](t *testing.T, name string, c pubsub.Codec[T], payload string, cause any) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var log logOf
			backend := memory.New()
			bus := pubsub.New(backend, c, log.option())
			defer bus.Close()
			s := subscribe(t, bus, "t", pubsub.Named("reader"))
			require.NoError(t, backend.Publish(t.Context(), "t", pubsub.Payload{Data: []byte(payload)}))
			e, err := s.Next(t.Context())
			require.NoError(t, err)
			d := e.Discontinuity
			require.Equal(t, pubsub.CauseDecode, d.Cause)
			require.Equal(t, payload, string(d.Payload.Data))
			require.ErrorIs(t, d, pubsub.ErrCodec)
			require.True(t, errors.As(d, cause))

			require.NoError(t, backend.Publish(t.Context(), "t", pubsub.Payload{Data: []byte(payload)}))
			go func() {
				for range s.Messages() { // tells the log of holes
				}
			}()
			synctest.Wait()
			require.Equal(t, 1, log.lines("lost=1"))
			for what, text := range map[string]string{"error": d.Error(), "log": log.String(), "Stats": fmt.Sprintf("%+v", bus.Stats())} {
				require.Less(t, len(text), 2000, what)
				require.NotContains(t, text, "SECRET-END", what)
				require.False(t, strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), unicode.IsControl), what)
			}
			require.LessOrEqual(t, len(d.Err.Error()), 512+40)
			require.NotContains(t, d.Error(), "\n")
		})
	})
}

// A topic's name may be endless, and so may what ParsePosition is given. An error
// quotes the beginning.
func TestErrorsQuoteLittle(t *testing.T) {
	long := strings.Repeat("\x01", 1<<20)
	_, err := pubsub.ParsePosition(long)
	require.ErrorIs(t, err, pubsub.ErrInvalidArgument)
	require.Less(t, len(err.Error()), 1000)
	require.Less(t, len((&pubsub.Discontinuity{Topic: long}).Error()), 1000)

	backend := memory.New()
	bus := pubsub.New(backend, codec.String())
	defer bus.Close()
	require.NoError(t, bus.Publish(t.Context(), long, "x"), "the memory backend takes a name of any length")
	err = bus.Publish(t.Context(), long+"\xff", "x")
	require.ErrorIs(t, err, pubsub.ErrInvalidTopic)
	require.Less(t, len(err.Error()), 2000)
	err = backend.Publish(t.Context(), long+"\xff", pubsub.Payload{})
	require.ErrorIs(t, err, pubsub.ErrInvalidTopic)
	require.Less(t, len(err.Error()), 1000)
}
