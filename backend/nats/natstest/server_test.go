package natstest

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The port and the store survive Stop and Start; Close removes the store.
func TestServer(t *testing.T) {
	s, err := NewServer(WithMaxPayload(5000))
	require.NoError(t, err)
	url, dir := s.URL(), s.remove
	nc, err := s.Connect()
	require.NoError(t, err)
	defer nc.Close()
	assert.Equal(t, int64(5000), nc.MaxPayload())
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), "s", []byte("kept"))
	require.NoError(t, err)
	s.Stop()
	s.Stop()
	assert.Nil(t, s.Server())
	assert.Zero(t, s.Clients())
	s.Start()
	s.Start()
	assert.Equal(t, url, s.URL())
	back := func() bool { return nc.Stats().Reconnects == 1 && nc.IsConnected() } // it may not know yet that it was cut off
	require.Eventually(t, back, time.Minute, time.Millisecond)
	stream, err := js.Stream(t.Context(), "S")
	require.NoError(t, err)
	m, err := stream.GetMsg(t.Context(), 1)
	require.NoError(t, err)
	assert.Equal(t, "kept", string(m.Data))
	require.NoError(t, s.Close())
	require.NoError(t, s.Close())
	assert.NoDirExists(t, dir)
}

func TestStoreDir(t *testing.T) {
	dir := t.TempDir()
	s, err := NewServer(WithStoreDir(dir))
	require.NoError(t, err)
	require.NoError(t, s.Close())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.NotEmpty(t, entries, "it is the caller's")
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, subject string
		want             bool
	}{
		{"a.b", "a.b", true},
		{"a.*", "a.b", true},
		{"a.*", "a.b.c", false},
		{"a.*.c", "a.b", false},
		{"a.>", "a.b.c", true},
		{"a.>", "a", false},
		{"a", "a.b", false},
	} {
		assert.Equal(t, c.want, matches(strings.Split(c.pattern, "."), strings.Split(c.subject, ".")), "%+v", c)
	}
}
