package main

import (
	"cmp"
	"slices"
)

// edits changes a text by insertions and replacements that may nest. It adds no
// lines, so that what is said of a line holds in both texts.
type edits []edit

type edit struct {
	at, length int
	text       string
	closes     bool
}

// wrap puts text before and behind [from, to). Outer wraps come first.
func (e *edits) wrap(from, to int, before, behind string) {
	*e = append(*e, edit{at: from, text: before}, edit{at: to, text: behind, closes: true})
}

func (e *edits) replace(at, length int, text string) {
	*e = append(*e, edit{at: at, length: length, text: text})
}

func (e edits) apply(source []byte) []byte {
	var opens, closes edits
	for _, x := range e {
		if x.closes {
			closes = append(closes, x)
		} else {
			opens = append(opens, x)
		}
	}
	// At one place: what ends there, the inner first; then what begins.
	slices.Reverse(closes)
	all := append(closes, opens...)
	slices.SortStableFunc(all, func(a, b edit) int { return cmp.Compare(a.at, b.at) })
	var out []byte
	done := 0
	for _, x := range all {
		out = append(out, source[done:x.at]...)
		out = append(out, x.text...)
		done = x.at + x.length
	}
	return append(out, source[done:]...)
}
