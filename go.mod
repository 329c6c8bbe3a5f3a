module github.com/topicbus/pubsub

go 1.25
