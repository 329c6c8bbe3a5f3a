module github.com/topicbus/pubsub/internal/mutants

go 1.25
