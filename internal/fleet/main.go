// Command fleet measures a fleet of processes full of viewers, over one server on
// this machine, and what a rolling deploy does to it:
//
//	go run ./internal/fleet
//	go run ./internal/fleet -processes 2 -viewers 50 -steady 2s
//	cd backend/nats && go run ./internal/fleet
//
// The server, each process of viewers, and the publishers are processes of their
// own. Each viewer has a subscription and a goroutine that reads it. What each of
// them got is checked: delivered + reported lost = accepted. The exit status is 1
// if that does not hold.
package main

import (
	"os"

	"github.com/topicbus/pubsub/internal/fleet/run"
)

func main() { os.Exit(run.Main(momentoEngine())) }
