// Command interop checks that programs of Momento's JavaScript SDK and of this
// library understand each other, over TCP, through the loopback server: text
// and bytes both ways, errors, losses, new pages and broken connections.
//
//	interop DIR
//
// DIR has this package's client.js with the SDK installed beside it; see
// .ci/run. Node.js must be there.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// limit is how long all of it may take. It is no measurement: the machine may
// be busy.
const limit = 3 * time.Minute

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: interop DIR")
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), limit, fmt.Errorf("not done within %v", limit))
	defer cancel()
	for _, c := range checks {
		if err := c.play(ctx, args[0]); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		fmt.Fprintln(out, "ok", c.name)
	}
	return nil
}
