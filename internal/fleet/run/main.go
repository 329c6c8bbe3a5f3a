package run

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// Main runs a fleet over e, as the command line says, and returns the exit
// status. As a child it does what the child is for.
func Main(e Engine) int {
	if len(os.Args) == 4 {
		switch os.Args[1] {
		case serviceRole:
			return status(runService(e, os.Stdin, os.Stdout))
		case viewersRole:
			return status(runViewers(e, os.Args[3], os.Stdin, os.Stdout))
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := Run(ctx, e, os.Args[1:], os.Stdout, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	return status(err)
}

func status(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		return 1
	}
	return 0
}

type config struct {
	processes, viewers, topics int
	rate                       float64
	size                       int
	seed                       uint64
	idle, steady, timeout      time.Duration
	shared, abrupt             bool
}

// Run runs a fleet as args say and reports to out. An error may be that a viewer
// missed something and was not told.
func Run(ctx context.Context, e Engine, args []string, out, stderr io.Writer) error {
	var c config
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&c.processes, "processes", 20, "`number` of processes with viewers")
	flags.IntVar(&c.viewers, "viewers", 5000, "`number` of viewers of each; a viewer watches one topic")
	flags.IntVar(&c.topics, "topics", 5, "`number` of topics")
	flags.Float64Var(&c.rate, "rate", 1, "`messages` a second to each topic")
	flags.IntVar(&c.size, "size", 256, "`bytes` of a message")
	flags.Uint64Var(&c.seed, "seed", 1, "what the order of the restarts, the phases of the publishers and the messages are drawn from")
	flags.DurationVar(&c.idle, "idle", 10*time.Second, "how long nobody publishes, at first")
	flags.DurationVar(&c.steady, "steady", time.Minute, "how long all watch, before the deploy")
	flags.DurationVar(&c.timeout, "timeout", time.Minute, "how long one step may take")
	flags.BoolVar(&c.shared, "shared", false, "come back with Shared: to the topic's one stream, without what passed meanwhile")
	flags.BoolVar(&c.abrupt, "abrupt", false, "stop processes with Close in place of Drain")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 || c.processes < 1 || c.topics < 1 || c.viewers < c.topics || c.rate <= 0 || c.size < headerSize || c.steady <= 0 || c.idle < 0 {
		return fmt.Errorf("see -h: there are no arguments, numbers are positive, each topic has a viewer, a message has at least %d bytes", headerSize)
	}
	r, err := drive(ctx, e, c, stderr)
	if err != nil {
		return err
	}
	r.print(out)
	return r.check()
}
