package pubsubdebug

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/topicbus/pubsub"
	"github.com/topicbus/pubsub/consume"
	"github.com/topicbus/pubsub/internal/hosts"
)

// Source is what the page shows: any [pubsub.Bus], whatever its type
// parameter, and whatever else can tell its Stats.
type Source interface{ Stats() pubsub.Stats }

// Named gives a bus the name that the page shows. Without one, a bus is shown
// by the type of its values.
func Named(name string, bus Source) Source { return named{bus, name} }

type named struct {
	Source
	name string
}

// Handler returns a handler of GET and HEAD that shows the buses, in the given
// order. Each request takes one snapshot of each bus. The parameter topic
// narrows it to the topics that contain it; refresh is the number of seconds
// between two refreshes of the page, 0 pauses it.
//
// The handler starts no goroutine and keeps no state, and goes on working when
// a bus is closed. It answers to localhost and to addresses; see
// [Page.AllowHosts] for other names. Handler panics if a bus is nil, like
// [http.Handle] does for a nil handler.
func Handler(bus ...Source) *Page {
	for i, b := range bus {
		if n, ok := b.(named); ok {
			b = n.Source
		}
		if b == nil {
			panic(fmt.Sprintf("pubsubdebug: bus %d given to Handler is nil", i+1))
		}
	}
	return &Page{sources: bus, names: names(bus), page: newPage(), policy: contentSecurityPolicy()}
}

// Page is the [http.Handler] that [Handler] returns. Its methods may be called
// from many goroutines at once.
type Page struct {
	sources  []Source
	names    []string
	monitors []monitor
	hosts    hosts.Names
	page     *template.Template
	policy   string // the page's Content-Security-Policy
}

type monitor struct {
	name string
	*consume.Monitor
}

// WithMonitor returns a page that also shows what m counts, under that name:
// how the handlers of [consume.Each] fare. Several monitors are shown in the
// order in which they were given. It panics if m is nil.
func (p *Page) WithMonitor(name string, m *consume.Monitor) *Page {
	if m == nil {
		panic(fmt.Sprintf("pubsubdebug: WithMonitor(%q): the Monitor is nil", name))
	}
	more := *p
	more.monitors = append(slices.Clone(p.monitors), monitor{name, m})
	return &more
}

// AllowHosts returns a page that also answers to these host names, such as
// "debug.example.com". In them case and port do not matter. It panics if one of
// them is not a host name.
//
// A request for another name is refused with 403. Otherwise a web page of
// somebody else, open in the browser of whoever may reach this one, could have
// its own name resolve to this address and read it.
func (p *Page) AllowHosts(names ...string) *Page {
	allowed := *p
	allowed.hosts = slices.Clone(p.hosts)
	for _, name := range names {
		parsed, err := hosts.Parse(name)
		if err == nil && len(parsed) != 1 {
			err = fmt.Errorf("%q is not one host name", name)
		}
		if err != nil {
			panic("pubsubdebug: AllowHosts: " + err.Error())
		}
		allowed.hosts = append(allowed.hosts, parsed...)
	}
	return &allowed
}

// defaultRefresh is in seconds.
const defaultRefresh = 2

// ServeHTTP implements [http.Handler].
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.hosts.Check(w, r, "To have it answer, pass the name to AllowHosts of the page.") {
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "this page only shows: use GET", http.StatusMethodNotAllowed)
		return
	}
	query := r.URL.Query()
	asJSON, err := wantsJSON(query.Get("format"), r.Header.Get("Accept"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	refresh := defaultRefresh
	if s := query.Get("refresh"); s != "" {
		if refresh, err = strconv.Atoi(s); err != nil || refresh < 0 || refresh > 3600 {
			http.Error(w, "refresh: want a number of seconds from 0 (paused) to 3600", http.StatusBadRequest)
			return
		}
	}

	now := time.Now()
	snap := snapshot{Time: now, Buses: make([]bus, len(p.sources)), Handlers: make([]handlers, len(p.monitors))}
	for i, s := range p.sources {
		snap.Buses[i] = newBus(p.names[i], s.Stats(), query.Get("topic"), now)
	}
	for i, m := range p.monitors {
		snap.Handlers[i] = newHandlers(m.name, m.Stats())
	}
	// Rendered before anything is sent: a failure is then a proper 500.
	var body bytes.Buffer
	header := w.Header()
	if asJSON {
		header.Set("Content-Type", "application/json")
		enc := json.NewEncoder(&body)
		enc.SetIndent("", "  ")
		err = enc.Encode(snap)
	} else {
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Content-Security-Policy", p.policy)
		err = p.page.Execute(&body, newView(snap, query.Get("topic"), refresh))
	}
	if err != nil {
		header.Del("Content-Security-Policy")
		http.Error(w, "the page could not be made", http.StatusInternalServerError)
		return
	}
	header.Set("Cache-Control", "no-store")
	header.Set("Vary", "Accept")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	w.Write(body.Bytes())
}

// wantsJSON decides the format. Browsers accept text/html; tools that ask for
// nothing in particular get the page too.
func wantsJSON(format, accept string) (bool, error) {
	switch format {
	case "json":
		return true, nil
	case "html":
		return false, nil
	case "":
		return strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html"), nil
	default:
		return false, fmt.Errorf("format: want json or html")
	}
}
