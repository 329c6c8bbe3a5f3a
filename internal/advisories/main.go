// Command advisories judges what govulncheck found. It reads the output of
// "govulncheck -format json" of one module or several, one behind the other,
// from its standard input:
//
//	advisories ACCEPTED <output
//
// It fails if our code calls something that an advisory is about, unless the
// file ACCEPTED says why that does no harm. Advisories about the standard
// library are shown and do not fail: the Go release that a program is built
// with mends them.
package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "advisories:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: advisories ACCEPTED <output")
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	accepted, err := parseAccepted(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	found, err := read(in)
	if err != nil {
		return err
	}
	verdict := judge(found, accepted)
	for _, line := range verdict.notes {
		fmt.Fprintln(out, line)
	}
	if len(verdict.failures) > 0 {
		return fmt.Errorf("%d problems:\n%s", len(verdict.failures), strings.Join(verdict.failures, "\n"))
	}
	return nil
}
