// Package momentotest is a Momento Topics service on the loopback interface,
// for integration tests. It speaks the service's real gRPC protocol over TCP,
// so the official SDKs and this module's backend/momento connect to it as
// they connect to Momento, and it fails on command: see the fault methods of
// [Server] and [Topic].
//
//	srv, err := momentotest.NewServer(momentotest.WithCaches("cache"))
//	...
//	defer srv.Close()
//	backend, err := momento.New("cache", momento.WithCredentials(srv.Credentials()))
//
// # What it does like the service
//
// A topic comes into being with its first Publish or Subscribe, on a page of
// its own (see [WithPage]); its messages are numbered from 1. Every stream
// starts with a heartbeat. A subscriber that names no page, on a topic that has
// messages already, is then told the page by a discontinuity; no message was
// lost.
// A subscriber that names a page that is not the topic's gets a discontinuity
// to the present page and joins it at its end. A subscriber that names the
// page, or none, and a number gets what is retained from that number on,
// inclusive, behind a discontinuity if part of it is gone. A subscriber
// that reads so slowly that messages leave the retention before they were
// sent to it gets a discontinuity on the same page; nobody else waits for it.
// A message published while nobody subscribes is numbered and retained.
//
// The number that a discontinuity announces is the one after which messages
// resume, as the protocol's definition has it; see [WithInclusiveAnnouncements].
//
// # What it does unlike the service
//
// There is no TLS, and unless [WithAPIKey] is given every token is accepted.
// No limit applies unless an option sets it. ListCaches and all services
// other than topics and the making of caches are unimplemented.
//
// # Control headers
//
// A request may script its own faults by the headers of Momento's local test
// server: with request-id naming the session that counts are kept for,
// return-error, error-rpcs and error-count make calls fail, delay-ms,
// delay-rpcs and delay-count make them wait, and stream-error,
// stream-error-rpcs and stream-error-message-limit end streams in place of the
// message that would exceed the limit.
package momentotest
