package consume

import "time"

// queue is a list of tasks, first in, first out. A task is in one at most.
type queue[T any] struct {
	first, last *task[T]
	n           int
}

func (q *queue[T]) push(t *task[T]) {
	t.link = nil
	if q.last == nil {
		q.first = t
	} else {
		q.last.link = t
	}
	q.last = t
	q.n++
}

// pop returns nil if the queue is empty.
func (q *queue[T]) pop() *task[T] {
	t := q.first
	if t != nil {
		if q.first = t.link; q.first == nil {
			q.last = nil
		}
		t.link = nil
		q.n--
	}
	return t
}

// timetable holds tasks that wait for their next try: a heap, the first to be
// due on top. It is written out because container/heap would have each of them
// in an interface.
type timetable[T any] []*task[T]

// next returns when the first task is due, or false if there is none.
func (w timetable[T]) next() (due time.Time, ok bool) {
	if len(w) == 0 {
		return due, false
	}
	return w[0].due, true
}

func (w timetable[T]) before(i, j int) bool {
	if c := w[i].due.Compare(w[j].due); c != 0 {
		return c < 0
	}
	return w[i].number < w[j].number
}

func (w *timetable[T]) push(t *task[T]) {
	h := append(*w, t)
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h.before(i, parent) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
	*w = h
}

// pop removes the task that is due first. There must be one.
func (w *timetable[T]) pop() *task[T] {
	h := *w
	t, last := h[0], len(h)-1
	h[0], h[last] = h[last], nil
	h = h[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h.before(child, least) {
				least = child
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	*w = h
	return t
}
