package loopback

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestListen(t *testing.T) {
	seen := make(map[int]bool)
	for range 50 {
		l, err := Listen("127.0.0.1")
		require.NoError(t, err)
		defer l.Close()
		port := l.Addr().(*net.TCPAddr).Port
		require.GreaterOrEqual(t, port, lowest)
		require.LessOrEqual(t, port, highest)
		require.False(t, seen[port])
		seen[port] = true
	}
}

func TestListenOnWhatIsNotHere(t *testing.T) {
	_, err := Listen("192.0.2.1") // RFC 5737: nobody's
	require.Error(t, err)
}
