// Package pubsubdebug shows what buses do on a web page, in the manner of
// net/http/pprof:
//
//	mux.Handle("/debug/pubsub", pubsubdebug.Handler(quotes, pubsubdebug.Named("orders", orders)))
//
// The page lists topics with the state of their streams, subscriptions with
// their lag and losses, and the latest discontinuities, reconnects and ends.
// [Page.WithMonitor] adds what the handlers of package consume do.
// It refreshes itself and can be paused, with or without JavaScript, and loads
// nothing from anywhere else. It only reads: nothing on it changes a bus.
//
// Tools get the same as JSON, from the same address, with the header
// "Accept: application/json" or with ?format=json. Names in it are stable;
// fields may be added. Times are RFC 3339, durations are in seconds.
//
// Topic names, the texts of errors and the load of the service are nobody
// else's business: do not serve the page on the open internet. Register it on
// an internal address, or behind a handler that checks who asks. Payloads are
// not shown. The page answers to localhost and to addresses; for another name
// say so with [Page.AllowHosts].
package pubsubdebug
