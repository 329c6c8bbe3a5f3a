// Package ring is the log of a topic's newest messages, with a cursor for each
// of its readers.
//
// One writer appends, any number of readers follow. The log need not know its
// readers in order to append: that costs writing one message and waking those
// who sleep, however many lag behind. A reader that lags further behind than
// the log's capacity finds a hole with the exact count.
//
// The package knows indexes, entries and notes. It knows nothing of what is in
// them, starts no goroutine and calls nothing foreign. Reading downwards:
//
//	log.go     what the writer does: segments, appending, the end
//	notes.go   the rare events between the messages
//	cursor.go  a reader's place: what it finds there, overflow, limits
//	join.go    where a reader begins
//	budget.go  letting go of messages early, where bytes are bounded
//	sleep.go   how a reader waits, and the writer of a log that blocks
package ring
