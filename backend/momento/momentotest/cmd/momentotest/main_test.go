package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, in, "127.0.0.1:0", "one,two") }()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	require.True(t, ok, line)
	cc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	defer cc.Close()

	require.ErrorContains(t, run(ctx, io.Discard, addr, ""), "listen")
	stop()
	require.NoError(t, <-ended)
	_, err = net.Dial("tcp", addr)
	require.Error(t, err)
}
