package check

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// position is where a message stands in its topic.
type position struct{ page, seq uint64 }

func (p position) String() string {
	if p == (position{}) {
		return "-"
	}
	return fmt.Sprintf("%d/%d", p.page, p.seq)
}

func (p position) before(q position) bool {
	return p.page < q.page || p.page == q.page && p.seq < q.seq
}

func parsePosition(s string) (p position, err error) {
	if s == "-" {
		return position{}, nil
	}
	page, seq, _ := strings.Cut(s, "/")
	if p.page, err = strconv.ParseUint(page, 10, 64); err != nil {
		return p, err
	}
	p.seq, err = strconv.ParseUint(seq, 10, 64)
	return p, err
}

// id names a message by who published it.
type id struct {
	publisher string
	n         uint64
}

func (i id) String() string { return fmt.Sprintf("%s#%d", i.publisher, i.n) }

// publish is a P or an O line.
type publish struct {
	outcome    string
	sum        uint64
	begin, end int64
	old        bool // of an earlier round, when it was counted
}

// step is an M or a G line.
type step struct {
	// of a message
	id  id
	at  position
	sum uint64
	// of a gap
	gap           bool
	cause         string
	lost          uint64
	exact         bool
	after, resume position
}

// subscription is an S line, what follows it, and an E line.
type subscription struct {
	name, topic, form string
	after             position // resumes behind it, if not zero
	begin             int64
	flags             string
	steps             []step

	ended           string // how, "" if it did not
	end             int64
	delivered, lost uint64
	dropped         string
	err             string
}

func (s *subscription) has(flag string) bool {
	return slices.Contains(strings.Split(s.flags, ","), flag)
}
func (s *subscription) resumed() bool { return s.has(Resumed) }

// fields reads the fields of a line. What is not as it must be makes err.
type fields struct {
	list []string
	err  error
}

func (f *fields) text() string {
	if len(f.list) == 0 {
		f.err = fmt.Errorf("too few fields")
		return ""
	}
	s := f.list[0]
	f.list = f.list[1:]
	return s
}

func (f *fields) number() uint64 {
	n, err := strconv.ParseUint(f.text(), 10, 64)
	f.note(err)
	return n
}

func (f *fields) time() int64 {
	n, err := strconv.ParseInt(f.text(), 10, 64)
	f.note(err)
	return n
}

func (f *fields) position() position {
	p, err := parsePosition(f.text())
	f.note(err)
	return p
}

func (f *fields) note(err error) {
	if f.err == nil {
		f.err = err
	}
}
