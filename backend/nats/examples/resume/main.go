// Command resume is two programs that may be killed at any time and started
// again: a publisher and a reader, which share nothing but a NATS server.
//
//	go run ./examples/resume -url nats://127.0.0.1:4222 -journal sent publish
//	go run ./examples/resume -url nats://127.0.0.1:4222 -journal got read
//
// The publisher sends the numbers 1, 2, 3, ... and notes each one that was
// accepted. If it is killed it goes on behind the last one it has noted, so
// that one number may be sent twice.
//
// The reader notes each message with its position, in one write. If it is
// killed it resumes behind the last position that it has noted, and so has each
// message once, or notes how many are missing.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/backend/nats"
	"github.com/topicbus/pubsub/codec"
)

const topic = "resume.numbers"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "resume:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("resume", flag.ContinueOnError)
	url := flags.String("url", "nats://127.0.0.1:4222", "the NATS server's `URL`")
	path := flags.String("journal", "journal", "the `file` that remembers")
	every := flags.Duration("every", 0, "pause of the publisher between two numbers")
	if err := flags.Parse(args); err != nil {
		return err
	}
	backend, err := nats.New(*url, nats.WithName("resume "+flags.Arg(0)), nats.WithLogger(slog.New(slog.NewTextHandler(os.Stderr, nil))))
	if err != nil {
		return err
	}
	defer backend.Close()
	bus := pubsub.New(backend, codec.JSON[int]())
	defer bus.Close()
	journal, last, err := open(*path)
	if err != nil {
		return err
	}
	defer journal.Close()
	switch flags.Arg(0) {
	case "publish":
		return publish(ctx, bus.Topic(topic), journal, last, *every)
	case "read":
		return read(ctx, bus.Topic(topic), journal, last)
	}
	return fmt.Errorf("%q is neither publish nor read", flags.Arg(0))
}

// open opens a journal and returns its last line. Half a line at its end, of a
// process that was killed while it wrote, is cut off.
func open(path string) (f *os.File, last string, err error) {
	contents, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return nil, "", err
	}
	whole := contents[:bytes.LastIndexByte(contents, '\n')+1]
	if f, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o644); err != nil {
		return nil, "", err
	}
	if err = f.Truncate(int64(len(whole))); err == nil {
		_, err = f.Seek(0, 2)
	}
	if err != nil {
		f.Close()
		return nil, "", err
	}
	lines := strings.Split(strings.TrimSuffix(string(whole), "\n"), "\n")
	return f, lines[len(lines)-1], nil
}

func publish(ctx context.Context, t *pubsub.Topic[int], journal *os.File, last string, every time.Duration) error {
	n, _ := strconv.Atoi(last) // 0 if there is none
	for ctx.Err() == nil {
		if err := t.Publish(ctx, n+1); err != nil {
			time.Sleep(50 * time.Millisecond) // send it again, maybe twice
			continue
		}
		n++
		if _, err := fmt.Fprintln(journal, n); err != nil {
			return err
		}
		time.Sleep(every)
	}
	return nil
}

// read notes "position number" for each message, and "position lost count" for
// each hole.
func read(ctx context.Context, t *pubsub.Topic[int], journal *os.File, last string) error {
	from := pubsub.FromOldest()
	if position, _, _ := strings.Cut(last, " "); position != "" {
		p, err := pubsub.ParsePosition(position)
		if err != nil {
			return err
		}
		from = pubsub.ResumeAfter(p)
	}
	sub, err := t.Subscribe(ctx, from)
	if err != nil {
		return err
	}
	at := sub.Start()
	for {
		e, err := sub.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		switch e.Kind {
		case pubsub.KindMessage:
			at = e.Message.Position
			_, err = fmt.Fprintln(journal, at, e.Message.Value)
		case pubsub.KindDiscontinuity:
			if next := e.Discontinuity.Resume; !next.IsZero() {
				at = pubsub.Position{Page: next.Page, Sequence: next.Sequence - 1} // on another page after a reset
			}
			_, err = fmt.Fprintln(journal, at, "lost", e.Discontinuity.Lost)
		}
		if err != nil {
			return err
		}
	}
}
