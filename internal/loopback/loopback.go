// Package loopback has ports for test servers that stop and start again.
package loopback

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// Systems give outgoing connections local ports from 32768 on, or from 49152. A
// connection that has the port of a server that is stopped can keep it for as
// long as it lives, so the ports are below.
const (
	lowest  = 20_000
	highest = 32_767
	tries   = 100
)

// Listen listens on a port of host that no outgoing connection is given. If it
// finds none it takes any.
func Listen(host string) (net.Listener, error) {
	for range tries {
		port := lowest + rand.IntN(highest-lowest+1)
		l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err == nil || !errors.Is(err, syscall.EADDRINUSE) && !errors.Is(err, syscall.EACCES) {
			return l, err
		}
	}
	return net.Listen("tcp", net.JoinHostPort(host, "0"))
}
