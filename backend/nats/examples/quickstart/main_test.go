package main

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/topicbus/pubsub/backend/nats/natstest"
)

func TestRun(t *testing.T) {
	server, err := natstest.NewServer()
	require.NoError(t, err)
	defer server.Close()
	for _, args := range [][]string{nil, {"-url", server.URL(), "-n", "50"}} {
		var stdout, stderr bytes.Buffer
		require.NoError(t, run(context.Background(), args, &stdout, &stderr))
		assert.Contains(t, stdout.String(), ": 0 unaccounted for\n")
		assert.Equal(t, args == nil, bytes.Contains(stdout.Bytes(), []byte("the server is back")))
	}
	require.Error(t, run(context.Background(), []string{"-url", "http://x"}, &bytes.Buffer{}, &bytes.Buffer{}))
}
