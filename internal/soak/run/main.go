// Package run is the soak: a driver that has several processes publish and
// subscribe over an engine, makes faults meanwhile, and has what they record
// checked by package check.
package run

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/topicbus/pubsub/internal/soak/engine"
)

// nodeCommand is the argument by which the driver starts itself as a node.
const nodeCommand = "node"

// Main runs a soak over the engines, as the command line says, and returns the
// exit status: 1 after a violation.
func Main(engines ...engine.Engine) int {
	if len(os.Args) == 4 && os.Args[1] == nodeCommand {
		for _, e := range engines {
			if e.Name == os.Args[2] {
				if err := runNode(e, os.Args[3], os.Stdin, os.Stdout, os.Stderr); err != nil {
					fmt.Fprintln(os.Stderr, err)
					return 1
				}
				return 0
			}
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	clean, err := drive(ctx, os.Args[1:], os.Stdout, os.Stderr, engines)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "soak:", err)
		return 1
	case !clean:
		return 1
	}
	return 0
}

type config struct {
	minutes float64
	seed    uint64
	rate    float64
	topics  int
	round   time.Duration
	keep    string
}

func drive(ctx context.Context, args []string, out, stderr io.Writer, engines []engine.Engine) (clean bool, err error) {
	var c config
	var names []string
	for _, e := range engines {
		names = append(names, e.Name)
	}
	flags := flag.NewFlagSet("soak", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Float64Var(&c.minutes, "minutes", 1, "how `long`, over all engines")
	flags.Uint64Var(&c.seed, "seed", rand.Uint64(), "what the plan and the faults are drawn from; the order in which things happen is not")
	flags.Float64Var(&c.rate, "rate", 300, "`messages` a second to each topic")
	flags.IntVar(&c.topics, "topics", 3, "`number` of topics")
	flags.DurationVar(&c.round, "round", 10*time.Second, "how long a round publishes; each is checked when all have read it")
	flags.StringVar(&c.keep, "keep", os.TempDir(), "`directory` for the records of a round with violations")
	chosen := flags.String("engines", strings.Join(names, ","), "`names`, separated by commas")
	if err := flags.Parse(args); err != nil {
		return false, err
	}
	if flags.NArg() > 0 || c.rate <= 0 || c.topics < 1 || c.round < time.Second || c.minutes <= 0 {
		return false, errors.New("see -h: there are no arguments, -rate, -topics and -minutes are positive, -round is at least 1s")
	}
	var list []engine.Engine
	for name := range strings.SplitSeq(*chosen, ",") {
		found := false
		for _, e := range engines {
			if e.Name == strings.TrimSpace(name) {
				list, found = append(list, e), true
			}
		}
		if !found {
			return false, fmt.Errorf("-engines %q: there are %s", name, strings.Join(names, ", "))
		}
	}
	fmt.Fprintf(out, "seed %d\n", c.seed)
	share := time.Duration(c.minutes * float64(time.Minute) / float64(len(list)))
	clean = true
	var results []result
	for _, e := range list {
		res, err := runEngine(ctx, e, c, share, out)
		results = append(results, res)
		clean = clean && res.violations == 0
		if err != nil {
			table(out, results)
			return false, fmt.Errorf("%s: %w", e.Name, err)
		}
	}
	table(out, results)
	return clean, nil
}
