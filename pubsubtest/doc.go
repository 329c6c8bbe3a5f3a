// Package pubsubtest has what tests of pubsub need: helpers for the tests of
// applications, and [Run], the conformance suite for a [pubsub.Backend].
//
// # For applications
//
//	pubsubtest.Expect(t, sub, "tea", "coffee") // the next messages; a hole fails the test
//	pubsubtest.ExpectDiscontinuity(t, sub, pubsub.CauseReset)
//	rec := pubsubtest.Record(t, sub) // keeps everything from now on
//	rec.Wait(pubsub.KindMessage, 2)
//
// [Expect], [ExpectDiscontinuity], [ExpectNone], [Collect] and [Record] read a
// subscription and say what came instead of what was expected. They work in
// real time; in a bubble of [testing/synctest] their deadlines cost nothing.
//
// # For authors of a backend
//
//	func TestConformance(t *testing.T) {
//		pubsubtest.Run(t, pubsubtest.Harness{
//			New: func(t testing.TB) pubsubtest.Target {
//				return pubsubtest.Target{Backend: mybackend.New(...), Numbered: true}
//			},
//			Without: []string{"Lose", "Reset"}, // and what else cannot be arranged
//		})
//	}
//
// A [Target] also has the functions by which the suite breaks connections,
// loses messages and so on. A case that needs one which the Target lacks is
// skipped, and both the skipped case and the end of the run name what was not
// checked. So that a green run never hides this, the Harness must list what it
// does without; Run fails otherwise.
//
// What a backend may do besides, such as to publish batches or to tell what a
// stream holds back, Run finds out by itself. It checks what is there, and names
// what is not in the same way; this need not be listed. A backend that has it
// keeps it by a line such as
//
//	var _ pubsub.TopicBackend = (*Backend)(nil)
//
// The suite works in real time and in a bubble, over memory and over a network:
// it waits for events, with a deadline, and assumes nothing about when they come.
package pubsubtest
