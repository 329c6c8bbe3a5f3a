// Package check decides whether what a soak recorded keeps the library's
// promise. It shares no code with the library: it reads lines of text that say
// what was accepted, received and reported lost, and knows nothing else.
//
// One line is one thing that happened, its fields separated by blanks:
//
//	P topic publisher n outcome sum begin end   a publish returned
//	O topic publisher n outcome sum begin end   the same, in an earlier round
//	S sub topic form after time flags           a subscription exists
//	M sub publisher n position sum              it was handed a message
//	G sub cause lost exact after resume         it was told of missing messages
//	E sub how time delivered lost dropped err   it ended
//
// Publishers number their messages from 1, and do not publish one twice. A sum is
// a checksum of the content. An outcome is "ok", "no" (not accepted) or "unknown".
// Times are in nanoseconds of one clock. Positions are "page/sequence", or "-" for
// none. Within a page the service numbers its messages without a hole. The lines
// of one subscription are in the order in which things happened to it.
//
// A subscription begins behind the position after, "-" if it is not known. Of an
// end, delivered, lost and dropped (thrown away unread) are what the library's own
// counters say of the subscription. The err is quoted.
//
// The rules:
//
//   - source: what is received was published, unchanged, and by a publish that
//     did not fail with "not accepted";
//   - order: a subscription's positions grow, nothing comes twice, and what a
//     publisher had accepted comes before what it published afterwards;
//   - one place: a position is that of one message, for all who receive it;
//   - holes: where positions are missing, losses were reported, at that place,
//     as many as are missing (at least, if a count was inexact: no more);
//   - start: what was published after Subscribe returned, or stands behind the
//     position that a subscription resumes after, is received or reported lost;
//   - end: who reads to the end of a round receives its last message. What was
//     accepted before Close, Drain or the end of ctx is received, reported lost
//     or counted as dropped, if nothing stands between publisher and subscriber;
//   - counters: what the library counts is what happened.
package check
