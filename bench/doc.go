// Package bench holds the benchmarks:
//
//	go test -bench . ./bench
//
// takes a few minutes and needs nothing set up. Benchmarks of the same name up
// to the last parts do the same work with different contenders; those named
// chan are plain Go channels. See [github.com/topicbus/pubsub/bench/shape] for
// what is measured and checked, docs/benchmarks.md for results, bench/peers
// for other libraries.
package bench
