// Package pubsubotel measures and traces buses with OpenTelemetry, by the
// semantic conventions for messaging. It is a module of its own, so that
// package pubsub depends on none of it.
//
//	telemetry, err := pubsubotel.New(pubsubotel.WithSystem("momento"), pubsubotel.WithNamespace("my-cache"))
//	bus := pubsub.New(backend, codec.String(), pubsub.WithObserver(telemetry.Observer()))
//	registration, err := telemetry.Register("orders", bus)
//	defer registration.Unregister()
//
// # Metrics
//
// From the Observer, with the topic:
//
//	messaging.client.operation.duration  s          histogram of Publish
//	messaging.client.sent.messages       {message}  attempts to publish; those that failed have error.type
//	pubsub.lost.messages                 {message}  reported lost to subscriptions, by pubsub.loss.cause; a hole counts for at most 1<<32
//
// From Register, read from the bus's Stats when they are collected, so that
// they cost nothing per message:
//
//	messaging.client.consumed.messages   {message}       delivered to the subscriptions of the bus
//	pubsub.dropped.messages              {message}       thrown away unread by ends of subscriptions
//	pubsub.subscriptions                 {subscription}  live now
//	pubsub.streams                       {stream}        open now, by pubsub.stream.state (up or down)
//	pubsub.stream.reconnects             {reconnect}     streams that broke and came back
//	pubsub.stream.downtime               s               for how long they were away, outages that are over
//	pubsub.subscription.lag              {message}       of the topic's subscription that is most behind, by topic
//
// From [Process] and [Handler]:
//
//	messaging.process.duration           s          histogram of the application's work on a message
//
// From [Telemetry.RegisterMonitor], read from the Stats of a [consume.Monitor]:
//
//	pubsub.consume.messages              {message}  done with, by pubsub.consume.outcome (handled, given_up or dropped)
//	pubsub.consume.failures              {try}      of handlers
//	pubsub.consume.retries               {try}      behind the first one of a message
//	pubsub.consume.busy                  {handler}  that run now
//	pubsub.consume.in_flight             {message}  taken and not finished now
//	pubsub.consume.waiting               {message}  that wait for their next try now
//	pubsub.consume.oldest                s          since when the oldest message in flight has been so
//
// A topic is messaging.destination.name. Where there are many topics, metrics
// by topic cost a lot: see [WithTemplate].
//
// # Spans
//
// Each Publish is a span of kind client, a child of the span in its ctx.
// [Process] makes a span of kind consumer around the work on a message, a
// child of the span in its ctx. [Handler] does so for each try of a handler of
// package consume, with the number of the try as pubsub.consume.try.
//
// Messages carry nothing but their payload, so no trace context travels with
// them, and the span of a Publish is not linked to those of its consumers.
// What identifies a message everywhere is its position: it is the
// messaging.message.id of a consumer's span, and the span has a link that all
// processes derive alike from namespace, topic and position (see
// [Telemetry.Link]). Searching for the linked trace id finds the spans of all
// work on the message, in whichever process. The link leads to no span itself.
package pubsubotel
