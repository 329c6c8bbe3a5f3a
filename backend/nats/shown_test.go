package nats

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/internal/foreign"
)

// TestShownErrors: an error keeps what errors.Is and errors.As find in it, and
// nothing of what was taken out.
func TestShownErrors(t *testing.T) {
	const secret = "T0KEN-of-the-application"
	f := &foreign.Filter{}
	f.Know(secret)
	for _, fine := range []error{
		nil, io.EOF, natsgo.ErrNoResponders, context.Canceled, errTimeout, jetstream.ErrStreamNotFound, &jetstream.APIError{Description: "fine"},
		fmt.Errorf("%w: %s", natsgo.ErrPermissionViolation, `Permissions Violation for Publish to "a"`),
		&breakError{what: "the connection broke"}, &breakError{what: "the connection broke", cause: io.EOF},
		pubsub.WithOutcome(&serviceError{sentinel: pubsub.ErrLimitExceeded, cause: io.EOF}, pubsub.NotAccepted),
	} {
		same := shown(f, fine)
		require.True(t, same == fine, "%v", fine)
	}
	text := secret + "\x1b\r\n" + strings.Repeat("x", 1<<20)
	api := &jetstream.APIError{Code: 404, ErrorCode: jetstream.JSErrCodeStreamNotFound, Description: text}
	for name, c := range map[string]struct {
		err   error
		is    error
		isAPI bool
	}{
		"any":                   {errors.New(text), nil, false},
		"of the client library": {fmt.Errorf("%w: %s", natsgo.ErrPermissionViolation, text), natsgo.ErrPermissionViolation, false},
		"an answer":             {api, jetstream.ErrStreamNotFound, true},
		"an answer, wrapped":    {fmt.Errorf("nats: %w", api), jetstream.ErrStreamNotFound, true},
		"joined":                {errors.Join(io.EOF, api), io.EOF, true},
		"hidden":                {hiding{api}, jetstream.ErrStreamNotFound, true},
		"of a session":          {&breakError{what: text}, pubsub.ErrUnavailable, false},
		"of a session, cause":   {&breakError{what: "broke", cause: api}, pubsub.ErrUnavailable, true},
		"hiding nothing":        {hiding{nil}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := shown(f, c.err)
			if name != "of a session" { // which is not shown twice
				require.Same(t, err, shown(f, err), "twice is once")
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%q"} {
				require.NotContains(t, fmt.Sprintf(verb, err), secret)
			}
			require.Less(t, len(err.Error()), 700)
			require.NotContains(t, err.Error(), "\x1b")
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
			var answer *jetstream.APIError
			require.Equal(t, c.isAPI, errors.As(err, &answer))
			if c.isAPI {
				require.Less(t, len(answer.Description), 700)
				require.NotContains(t, answer.Description, secret)
				require.Equal(t, jetstream.JSErrCodeStreamNotFound, answer.ErrorCode)
			}
		})
	}
}

// hiding says nothing of what it wraps, except if there is nothing.
type hiding struct{ error }

func (h hiding) Error() string {
	if h.error == nil {
		return "\x1b"
	}
	return "hidden"
}
func (h hiding) Unwrap() error { return h.error }

// TestRenewedCredentialsAreKnown: each JWT that is read from a file is taken out of texts,
// and the seed, which is never sent, is not kept.
func TestRenewedCredentialsAreKnown(t *testing.T) {
	pair, err := nkeys.CreateUser()
	require.NoError(t, err)
	seed, err := pair.Seed()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "app.creds")
	write := func(jwt string) {
		require.NoError(t, os.WriteFile(path, fmt.Appendf(nil,
			"-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n", jwt, seed), 0o600))
	}
	write("eyJfirst.claims.signature")
	o, err := newOptions([]Option{WithCredentialsFile(path)})
	require.NoError(t, err)
	n := natsgo.GetDefaultOptions()
	for _, opt := range o.connection() {
		require.NoError(t, opt(&n))
	}
	for _, jwt := range []string{"eyJfirst.claims.signature", "eyJsecond.claims.signature"} {
		write(jwt)
		read, err := n.UserJWT()
		require.NoError(t, err)
		require.Equal(t, jwt, read)
		assert.Equal(t, "you said [redacted]", o.foreign.Text("you said "+jwt))
	}
	assert.Contains(t, o.foreign.Text(string(seed)), string(seed))
}
