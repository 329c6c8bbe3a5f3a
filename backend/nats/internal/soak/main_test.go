package main

import (
	"os"
	"strings"
	"testing"

	"github.com/topicbus/pubsub/internal/soak/run"
)

// The nodes of the test are this program, as those of the soak are the soak.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "node" {
		main()
	}
	os.Exit(m.Run())
}

func TestSoak(t *testing.T) {
	args := os.Args
	defer func() { os.Args = args }()
	os.Args = append(args[:1:1], strings.Fields("-minutes 0.01 -round 2s -topics 2 -rate 200 -seed 1 -keep "+t.TempDir())...)
	if status := run.Main(natsEngine()); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
