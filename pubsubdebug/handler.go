package pubsubdebug

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/topicbus/pubsub"
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
// a bus is closed. It panics if a bus is nil, like [http.Handle] does for a nil
// handler.
func Handler(bus ...Source) http.Handler {
	for i, b := range bus {
		if n, ok := b.(named); ok {
			b = n.Source
		}
		if b == nil {
			panic(fmt.Sprintf("pubsubdebug: bus %d given to Handler is nil", i+1))
		}
	}
	return &handler{sources: bus, names: names(bus), page: newPage(), policy: contentSecurityPolicy()}
}

type handler struct {
	sources []Source
	names   []string
	page    *template.Template
	policy  string // the page's Content-Security-Policy
}

// defaultRefresh is in seconds.
const defaultRefresh = 2

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
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
	snap := snapshot{Time: now, Buses: make([]bus, len(h.sources))}
	for i, s := range h.sources {
		snap.Buses[i] = newBus(h.names[i], s.Stats(), query.Get("topic"), now)
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
		header.Set("Content-Security-Policy", h.policy)
		err = h.page.Execute(&body, newView(snap, query.Get("topic"), refresh))
	}
	if err != nil {
		header.Del("Content-Security-Policy")
		http.Error(w, err.Error(), http.StatusInternalServerError)
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
