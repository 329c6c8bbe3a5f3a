// Package backends has what the example programs share: flags that choose a
// backend, and opening it.
package backends

import (
	"errors"
	"flag"
	"fmt"
	"log/slog"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/memory"
	"github.com/topicbus/pubsub/backend/momento"
	"github.com/topicbus/pubsub/backend/momento/momentotest"
)

// Choice is which backend a program runs on.
type Choice struct {
	Name  string // "memory" or "momento"
	Cache string // the Momento cache
	Local bool   // Momento, on a server inside the program
}

// Flags has the command line make the choice.
func (c *Choice) Flags(flags *flag.FlagSet) {
	flags.StringVar(&c.Name, "backend", "memory", "`memory` or momento")
	flags.StringVar(&c.Cache, "cache", "", "the Momento cache, by `name` (needs MOMENTO_API_KEY)")
	flags.BoolVar(&c.Local, "local", false, "run a Momento server for tests inside this program, no account needed")
}

// Check says what is wrong with the choice.
func (c Choice) Check() error {
	switch {
	case c.Name != "memory" && c.Name != "momento":
		return fmt.Errorf("-backend %q: use memory or momento", c.Name)
	case c.Name == "memory" && (c.Cache != "" || c.Local):
		return errors.New("-cache and -local need -backend momento")
	case c.Name == "momento" && c.Cache == "" && !c.Local:
		return errors.New("-backend momento needs -cache NAME, or -local for a server inside this program")
	case c.Cache != "" && c.Local:
		return errors.New("-cache and -local exclude each other")
	}
	return nil
}

// Service is an open backend, with what makes its service fail and come back.
type Service struct {
	pubsub.Backend
	Fail func() // nil for the real one, like Mend
	Mend func() error

	close func() error
}

// Close closes the backend, and the server inside the program.
func (s *Service) Close() error { return s.close() }

// Open opens the chosen backend.
func (c Choice) Open(log *slog.Logger) (*Service, error) {
	switch {
	case c.Name == "memory":
		b := memory.New() // without a history: what passes during an outage is gone
		return &Service{
			Backend: b,
			Fail:    func() { b.Disconnect(nil) },
			Mend:    func() error { b.Reconnect(); return nil },
			close:   b.Close,
		}, nil
	case c.Local:
		server, err := momentotest.NewServer(momentotest.WithCaches("local"))
		if err != nil {
			return nil, err
		}
		b, err := momento.New("local", momento.WithCredentials(server.Credentials()), momento.WithLogger(log))
		if err != nil {
			return nil, errors.Join(err, server.Close())
		}
		return &Service{
			Backend: b,
			Fail:    server.Stop,
			Mend:    server.Restart,
			close:   func() error { return errors.Join(b.Close(), server.Close()) },
		}, nil
	default: // with MOMENTO_API_KEY and, for keys that need it, MOMENTO_ENDPOINT
		b, err := momento.New(c.Cache, momento.WithLogger(log))
		if err != nil {
			return nil, err
		}
		return &Service{Backend: b, close: b.Close}, nil
	}
}
