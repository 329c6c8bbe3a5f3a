package pubsubdebug

import (
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"fmt"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string
)

func newPage() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"visible":  visible,
		"number":   number,
		"duration": seconds.String,
		"ago":      ago,
	}).Parse(pageHTML))
}

// contentSecurityPolicy allows what the page is made of and nothing else,
// should escaping ever fail.
func contentSecurityPolicy() string {
	return fmt.Sprintf("default-src 'none'; style-src '%s'; script-src '%s'; connect-src 'self'; "+
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'", digest(pageCSS), digest(pageJS))
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// The page shows the first maxTopics topics, and of each the maxSubscriptions
// subscriptions that lag most. JSON has them all.
const (
	maxTopics        = 200
	maxSubscriptions = 10
)

// view is what the page's template sees.
type view struct {
	snapshot
	CSS     template.CSS
	JS      template.JS
	Filter  string
	Refresh int    // seconds between refreshes
	Paused  bool   // there are none
	Toggle  string // address of the page with the other Paused
	JSON    string // address of the same as JSON
}

func newView(s snapshot, filter string, refresh int) view {
	v := view{snapshot: s, CSS: template.CSS(pageCSS), JS: template.JS(pageJS), Filter: filter, Refresh: refresh, Paused: refresh == 0}
	address := func(key, value string) string {
		q := url.Values{}
		if filter != "" {
			q.Set("topic", filter)
		}
		q.Set(key, value)
		return "?" + q.Encode()
	}
	if v.Paused {
		v.Refresh = defaultRefresh
		v.Toggle = address("refresh", strconv.Itoa(defaultRefresh))
	} else {
		v.Toggle = address("refresh", "0")
	}
	v.JSON = address("format", "json")
	return v
}

// Shown and Hidden divide the topics.
func (b bus) Shown() []topic { return b.Topics[:min(len(b.Topics), maxTopics)] }
func (b bus) Hidden() int    { return len(b.Topics) - len(b.Shown()) }

// Shown and Hidden divide the subscriptions.
func (t topic) Shown() []subscription {
	return t.Subscriptions[:min(len(t.Subscriptions), maxSubscriptions)]
}
func (t topic) Hidden() int { return len(t.Subscriptions) - len(t.Shown()) }

// Full is how full a buffer is that holds lag messages, in percent.
func (t topic) Full(lag uint64) uint64 { return min(100, lag*100/uint64(max(t.Buffer, 1))) }

// Overrun is how many of the messages that s lags are not in the buffer any
// more: the next read reports them lost.
func (t topic) Overrun(s subscription) uint64 {
	if buffer := uint64(t.Buffer); s.Lag > buffer {
		return s.Lag - buffer
	}
	return 0
}

// visible shows a name that may hold anything: what would not be seen, or
// would change how its surroundings are shown, is escaped as in Go.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strconv.IsPrint(r) {
			b.WriteRune(r)
		} else {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		}
	}
	return b.String()
}

// number groups the digits of a number.
func number(n any) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (s seconds) String() string {
	d := time.Duration(float64(s) * float64(time.Second))
	switch {
	case d > 0 && d < time.Millisecond:
		return "<1ms"
	case d < 10*time.Second:
		return d.Round(time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

func ago(now, t time.Time) string {
	switch d := now.Sub(t).Round(time.Second); {
	case d <= 0:
		return "just now"
	default:
		return d.String() + " ago"
	}
}
