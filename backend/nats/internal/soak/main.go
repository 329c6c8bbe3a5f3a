// Command soak is internal/soak over NATS, and over memory:
//
//	cd backend/nats && go run ./internal/soak -minutes 10
//	cd backend/nats && go run ./internal/soak -minutes 10 -engines nats -seed 42
package main

import (
	"os"

	"github.com/topicbus/pubsub/internal/soak/engine"
	"github.com/topicbus/pubsub/internal/soak/run"
)

func main() { os.Exit(run.Main(engine.Memory(), natsEngine())) }
