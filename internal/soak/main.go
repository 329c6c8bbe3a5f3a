// Command soak looks for violations of the library's promise, for as long as it
// is told to:
//
//	go run ./internal/soak -minutes 10
//	go run ./internal/soak -minutes 10 -seed 42 -engines momento
//
// Several processes publish and subscribe in all the ways there are. Faults are
// made at random, and some processes are killed and go on where they were. What
// all of them did is checked by package check, round by round. The exit status
// is 1 if something was violated; the seed and the file with the round's records
// are printed then.
package main

import (
	"os"

	"github.com/topicbus/pubsub/internal/soak/engine"
	"github.com/topicbus/pubsub/internal/soak/momentoengine"
	"github.com/topicbus/pubsub/internal/soak/run"
)

func main() { os.Exit(run.Main(engine.Memory(), momentoengine.Engine())) }
