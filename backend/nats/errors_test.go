package nats

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
)

// TestErrorCodes has a row for each code of the table.
func TestErrorCodes(t *testing.T) {
	rows := map[jetstream.ErrorCode]error{
		10002: pubsub.ErrLimitExceeded,
		10003: pubsub.ErrInvalidArgument,
		10023: pubsub.ErrLimitExceeded,
		10025: pubsub.ErrInvalidArgument,
		10026: pubsub.ErrLimitExceeded,
		10027: pubsub.ErrLimitExceeded,
		10028: pubsub.ErrLimitExceeded,
		10039: pubsub.ErrNotFound,
		10047: pubsub.ErrLimitExceeded,
		10052: pubsub.ErrInvalidArgument,
		10054: pubsub.ErrPayloadTooLarge,
		10059: pubsub.ErrNotFound,
		10060: pubsub.ErrInvalidArgument,
		10065: pubsub.ErrInvalidArgument,
		10074: pubsub.ErrInvalidArgument,
		10076: pubsub.ErrNotFound,
		10077: pubsub.ErrLimitExceeded,
		10117: pubsub.ErrInvalidArgument,
	}
	assert.Equal(t, slices.Sorted(maps.Keys(rows)), slices.Sorted(maps.Keys(codes)), "a row for each code")
	rows[10008] = pubsub.ErrUnavailable // as any that is not in the table
	for code, sentinel := range rows {
		api := &jetstream.APIError{Code: 400, ErrorCode: code, Description: "because"}
		err := translate(context.Background(), context.Background(), fmt.Errorf("wrapped: %w", api))
		assert.ErrorIs(t, err, sentinel, "%d", code)
		assert.ErrorIs(t, err, api)
		assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err), "the server's answer says that it refused")
		assert.ErrorContains(t, err, "because")
	}
}

// TestClientErrors has a row for each of the client library's errors.
func TestClientErrors(t *testing.T) {
	rows := []struct {
		err      error
		sentinel error
		outcome  pubsub.Outcome
	}{
		{natsgo.ErrAuthorization, pubsub.ErrUnauthenticated, pubsub.OutcomeUnknown},
		{natsgo.ErrAuthExpired, pubsub.ErrUnauthenticated, pubsub.OutcomeUnknown},
		{natsgo.ErrAuthRevoked, pubsub.ErrUnauthenticated, pubsub.OutcomeUnknown},
		{natsgo.ErrAccountAuthExpired, pubsub.ErrUnauthenticated, pubsub.OutcomeUnknown},
		{natsgo.ErrPermissionViolation, pubsub.ErrPermissionDenied, pubsub.OutcomeUnknown},
		{natsgo.ErrMaxPayload, pubsub.ErrPayloadTooLarge, pubsub.NotAccepted},
		{natsgo.ErrBadSubject, pubsub.ErrInvalidTopic, pubsub.NotAccepted},
		{natsgo.ErrHeadersNotSupported, pubsub.ErrInvalidArgument, pubsub.NotAccepted},
		{jetstream.ErrNoStreamResponse, pubsub.ErrUnavailable, pubsub.NotAccepted},
		{natsgo.ErrNoResponders, pubsub.ErrUnavailable, pubsub.NotAccepted},
		{natsgo.ErrReconnectBufExceeded, pubsub.ErrUnavailable, pubsub.NotAccepted},
		{natsgo.ErrConnectionDraining, pubsub.ErrUnavailable, pubsub.NotAccepted},
		{natsgo.ErrMaxConnectionsExceeded, pubsub.ErrLimitExceeded, pubsub.OutcomeUnknown},
		{natsgo.ErrMaxAccountConnectionsExceeded, pubsub.ErrLimitExceeded, pubsub.OutcomeUnknown},
	}
	for i, row := range rows {
		require.Equal(t, clientErrors[i].err, row.err, "a row for each, in order")
	}
	require.Len(t, clientErrors, len(rows))
	for _, err := range []error{natsgo.ErrTimeout, natsgo.ErrConnectionClosed, jetstream.ErrInvalidJSAck, errors.New("anything")} {
		rows = append(rows, struct {
			err      error
			sentinel error
			outcome  pubsub.Outcome
		}{err, pubsub.ErrUnavailable, pubsub.OutcomeUnknown})
	}
	for _, text := range []string{"nats: User Authentication Expired", "nats: User Authentication Revoked", "nats: Account Authentication Expired", "nats: Authorization Violation"} {
		rows = append(rows, struct {
			err      error
			sentinel error
			outcome  pubsub.Outcome
		}{errors.New(text), pubsub.ErrUnauthenticated, pubsub.OutcomeUnknown})
	}
	for _, row := range rows {
		err := translate(context.Background(), context.Background(), fmt.Errorf("wrapped: %w", row.err))
		assert.ErrorIs(t, err, row.sentinel)
		assert.ErrorIs(t, err, row.err)
		assert.Equal(t, row.outcome, pubsub.OutcomeOf(err), "%v", row.err)
	}
}

func TestTranslateContexts(t *testing.T) {
	live := context.Background()
	ended, cancel := context.WithCancel(live)
	cancel()
	assert.NoError(t, translate(ended, ended, nil))

	err := translate(ended, ended, errors.New("late"))
	assert.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "late")
	assert.Equal(t, context.Canceled, translate(ended, ended, context.Canceled))

	over := func(cause error) context.Context {
		ctx, end := context.WithCancelCause(live)
		end(cause)
		return ctx
	}
	assert.Equal(t, errTimeout, translate(live, over(errTimeout), context.DeadlineExceeded))
	assert.Equal(t, errClosed, translate(over(errClosed), over(errClosed), context.Canceled))
	broke := &breakError{what: "the connection broke", cause: natsgo.ErrStaleConnection}
	err = translate(live, over(broke), context.Canceled)
	assert.ErrorIs(t, err, pubsub.ErrUnavailable)
	assert.ErrorIs(t, err, natsgo.ErrStaleConnection)
	assert.Equal(t, "unavailable: the connection broke: stale connection", err.Error())
	deaf := &serviceError{sentinel: pubsub.ErrPermissionDenied, cause: fmt.Errorf("%w: Permissions Violation for Subscription to \"_INBOX\"", natsgo.ErrPermissionViolation)}
	assert.Equal(t, pubsub.OutcomeUnknown, pubsub.OutcomeOf(translate(live, over(deaf), context.Canceled)))
	denied := &serviceError{sentinel: pubsub.ErrPermissionDenied, cause: fmt.Errorf("%w: Permissions Violation for Publish to \"a\"", natsgo.ErrPermissionViolation)}
	err = translate(live, over(denied), context.Canceled)
	assert.Equal(t, pubsub.NotAccepted, pubsub.OutcomeOf(err))
	assert.ErrorIs(t, err, pubsub.ErrPermissionDenied)
	assert.Equal(t, err, translate(live, live, err), "once is enough")
}

func TestPermanent(t *testing.T) {
	for _, err := range []error{
		pubsub.ErrUnauthenticated, pubsub.ErrPermissionDenied, pubsub.ErrNotFound, pubsub.ErrInvalidArgument, pubsub.ErrInvalidTopic, pubsub.ErrClosed,
	} {
		assert.True(t, permanent(&serviceError{sentinel: err, cause: errors.New("x")}), "%v", err)
	}
	for _, err := range []error{errTimeout, errStalled, errGap, errUnruly, pubsub.ErrLimitExceeded, &breakError{what: "x", cause: pubsub.ErrUnauthenticated}} {
		assert.False(t, permanent(err), "%v", err)
	}
}

// TestAcknowledgements: the quick way and the other agree.
func TestAcknowledgements(t *testing.T) {
	for text, want := range map[string]uint64{
		`{"stream":"S", "seq":1}`:                      1,
		`{"stream":"S", "seq":18446744073709551}`:      18446744073709551,
		`{"stream":"S", "seq":18446744073709551615}`:   18446744073709551615,
		`{"stream":"S","seq":7}`:                       7,
		`{"stream":"S", "seq":7, "duplicate": true}`:   7,
		`{"stream":"S", "domain":"d", "seq":7}`:        7,
		`{"stream":"SS", "seq":7}`:                     0,
		`{"stream":"", "seq":7}`:                       0,
		`{"stream":"S", "seq":0}`:                      0,
		`{"stream":"S", "seq":}`:                       0,
		`{"stream":"S", "seq":-1}`:                     0,
		`{"stream":"S"}`:                               0,
		`{"stream":"S", "seq":7`:                       0,
		`{"error":{"code":503,"err_code":10077}}`:      0,
		`{"error":{"code":503},"stream":"S", "seq":7}`: 0,
		`{"stream":"`:                                  0,
		``:                                             0,
	} {
		n, err := acknowledged(&natsgo.Msg{Data: []byte(text)}, "S")
		assert.Equal(t, want, n, text)
		assert.Equal(t, want == 0, err != nil, text)
	}
}
