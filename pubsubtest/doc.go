// Package pubsubtest has what tests of pubsub need: [Run], the conformance
// suite for a [pubsub.Backend], and helpers for the tests of applications.
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
// The suite works in real time and in a [testing/synctest] bubble, over memory
// and over a network: it waits for events, with a deadline, and assumes
// nothing about when they come.
//
// # For applications
//
// [Expect], [ExpectDiscontinuity], [ExpectNone], [Collect] and [Record] read a
// subscription and say what came instead of what was expected. They work in
// real time; in a bubble their deadlines cost nothing.
package pubsubtest
