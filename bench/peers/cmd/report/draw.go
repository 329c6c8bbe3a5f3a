package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

const (
	width  = 8 * vg.Inch
	height = 5 * vg.Inch
)

var (
	blue  = color.RGBA{0x1f, 0x5f, 0xd0, 0xff}
	sky   = color.RGBA{0x4f, 0xb0, 0xe8, 0xff}
	black = color.RGBA{0x20, 0x20, 0x20, 0xff}
	red   = color.RGBA{0xc8, 0x3c, 0x32, 0xff}
	grey  = color.RGBA{0xa0, 0xa0, 0xa0, 0xff}
)

// style is how a contender is drawn: ours in blue, the limits in dark, others
// in the background.
func style(contender string) draw.LineStyle {
	s := draw.LineStyle{Color: grey, Width: vg.Points(1)}
	switch contender {
	case "All":
		s.Color, s.Width = blue, vg.Points(2.5)
	case "C":
		s.Color, s.Width = sky, vg.Points(2.5)
	case "chan256":
		s.Color, s.Width = black, vg.Points(2)
		s.Dashes = []vg.Length{vg.Points(6), vg.Points(3)}
	case "sdk":
		s.Color, s.Width = red, vg.Points(2)
	}
	return s
}

func (r *report) draw(docs string) error {
	return errors.Join(
		r.drawFanOut(filepath.Join(docs, "fanout.svg")),
		r.drawLatency(r.Bench, "Paced/rate=10000/subs=10", "Latency at 10,000 messages/s, 10 subscribers, in memory", filepath.Join(docs, "latency-memory.svg")),
		r.drawLatency(r.Bench, "MomentoPaced/rate=1000/subs=1", "Latency at 1,000 messages/s, Momento's protocol over loopback", filepath.Join(docs, "latency-momento.svg")),
		r.drawRecovery(filepath.Join(docs, "recovery.svg")),
	)
}

func (r *report) drawFanOut(file string) error {
	p := newPlot("One publisher, nothing lost: time per delivery", "subscribers")
	logarithmic(p)
	p.X.Tick.Marker = ticks([]float64{1, 10, 100, 1000}, func(v float64) string { return strconv.Itoa(int(v)) })
	var lines []line
	for _, c := range r.Peers.in("FanOut/subs=1") {
		if strings.HasSuffix(c, "-bare") {
			continue // the table has it
		}
		l := line{contender: c}
		for _, n := range []float64{1, 10, 100, 1000} {
			l.add(n, r.Peers.median(fmt.Sprintf("FanOut/subs=%.0f/%s", n, c), "ns/delivery"))
		}
		lines = append(lines, l)
	}
	p.X.Max = 9000 // room for the labels
	return save(p, lines, file)
}

func (r *report) drawLatency(t *table, group, title, file string) error {
	p := newPlot(title, "share of deliveries that took no longer")
	p.Y.Scale = plot.LogScale{}
	p.X.Tick.Marker = ticks([]float64{0, 1, 2, 3, 4}, func(v float64) string {
		return []string{"50%", "90%", "99%", "99.9%", "all"}[int(v)]
	})
	var lines []line
	for _, c := range t.in(group) {
		l := line{contender: c}
		for i, q := range quantileNames {
			l.add(float64(i), t.median(group+"/"+c, q+"-ns"))
		}
		lines = append(lines, l)
	}
	p.X.Max = 5
	return save(p, lines, file)
}

func (r *report) drawRecovery(file string) error {
	p := newPlot("Momento: from the server's return until the next message", "the server was away for")
	logarithmic(p)
	outages := []time.Duration{100 * time.Millisecond, time.Second, 3 * time.Second}
	var seconds []float64
	for _, o := range outages {
		seconds = append(seconds, o.Seconds())
	}
	p.X.Tick.Marker = ticks(seconds, func(v float64) string { return duration(v * 1e9) })
	var lines []line
	for _, c := range []string{"sdk", "All"} {
		l := line{contender: c}
		for _, o := range outages {
			name := fmt.Sprintf("MomentoRecovery/outage=%v/%s", o, c)
			l.add(o.Seconds(), r.Bench.median(name, "recovery-ns"))
			for _, v := range r.Bench.Samples[name]["recovery-ns"] {
				l.rounds = append(l.rounds, plotter.XY{X: o.Seconds(), Y: v})
			}
		}
		lines = append(lines, l)
	}
	p.X.Min, p.X.Max = 0.08, 8
	return save(p, lines, file)
}

// line is a contender's line, labelled at its right end.
type line struct {
	contender string
	points    plotter.XYs
	rounds    plotter.XYs // single rounds, drawn as dots
}

func (l *line) add(x, y float64) {
	if y > 0 { // a logarithm is taken
		l.points = append(l.points, plotter.XY{X: x, Y: y})
	}
}

func newPlot(title, x string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text = title, x
	p.Title.TextStyle.Font.Size = vg.Points(14)
	p.Title.Padding = vg.Points(8)
	for _, f := range []*font.Font{&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.X.Tick.Label.Font, &p.Y.Tick.Label.Font} {
		f.Typeface, f.Variant = "Liberation", "Sans"
	}
	return p
}

func logarithmic(p *plot.Plot) { p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{} }

func save(p *plot.Plot, lines []line, file string) error {
	p.Y.Min, p.Y.Max = math.Inf(1), math.Inf(-1)
	for _, l := range lines {
		for _, pt := range slices.Concat(l.points, l.rounds) {
			p.Y.Min, p.Y.Max = min(p.Y.Min, pt.Y), max(p.Y.Max, pt.Y)
		}
	}
	p.Y.Min, p.Y.Max = p.Y.Min/1.3, p.Y.Max*1.3
	p.Y.Tick.Marker = decades(p.Y.Min, p.Y.Max)
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = color.Gray{0xd8}
	p.Add(grid)
	// Others first, so that ours and the limit lie on top.
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(style(a.contender).Width, style(b.contender).Width) })
	for _, l := range lines {
		drawn, dots, err := plotter.NewLinePoints(l.points)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", filepath.Base(file), l.contender, err)
		}
		drawn.LineStyle = style(l.contender)
		dots.GlyphStyle = draw.GlyphStyle{Color: drawn.Color, Radius: drawn.Width * 1.2, Shape: draw.CircleGlyph{}}
		p.Add(drawn, dots)
		if len(l.rounds) > 0 {
			each, err := plotter.NewScatter(l.rounds)
			if err != nil {
				return err
			}
			each.GlyphStyle = draw.GlyphStyle{Color: drawn.Color, Radius: vg.Points(2), Shape: draw.RingGlyph{}}
			p.Add(each)
		}
	}
	p.Add(labels(p, lines))
	canvas, err := draw.NewFormattedCanvas(width, height, "svg")
	if err != nil {
		return err
	}
	c := draw.New(canvas)
	c.SetColor(p.BackgroundColor)
	c.Fill(c.Rectangle.Path())
	const margin = 10
	p.Draw(draw.Crop(c, margin, -margin, margin, -margin))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	// Not every reader has the font that the layout is made for.
	out := bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif"))
	return os.WriteFile(file, out, 0o644)
}

// labels names the lines at their right ends, moved apart where they would
// cover each other.
func labels(p *plot.Plot, lines []line) *plotter.Labels {
	lines = slices.Clone(lines)
	end := func(l line) plotter.XY { return l.points[len(l.points)-1] }
	slices.SortFunc(lines, func(a, b line) int { return cmp.Compare(end(a).Y, end(b).Y) })
	ys := make([]float64, len(lines))
	for i, l := range lines {
		ys[i] = math.Log(end(l).Y)
	}
	apart(ys, math.Log(p.Y.Max/p.Y.Min)*0.045, math.Log(p.Y.Min), math.Log(p.Y.Max))
	all := &plotter.Labels{Offset: vg.Point{X: vg.Points(8)}}
	for i, l := range lines {
		all.XYs = append(all.XYs, plotter.XY{X: end(l).X, Y: math.Exp(ys[i])})
		all.Labels = append(all.Labels, strings.ReplaceAll(label(l.contender), "`", ""))
		all.TextStyle = append(all.TextStyle, text.Style{
			Color:   style(l.contender).Color,
			Font:    font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(10.5)},
			YAlign:  draw.YCenter,
			Handler: plot.DefaultTextHandler,
		})
	}
	return all
}

// apart moves sorted ys until they are a gap apart, each as little as may be.
func apart(ys []float64, gap, lowest, highest float64) {
	for range 200 {
		for i := range ys {
			if i > 0 {
				if push := (gap - (ys[i] - ys[i-1])) / 2; push > 0 {
					ys[i-1] -= push
					ys[i] += push
				}
			}
			ys[i] = min(max(ys[i], lowest), highest)
		}
	}
}

func ticks(at []float64, name func(float64) string) plot.ConstantTicks {
	var ts plot.ConstantTicks
	for _, v := range at {
		ts = append(ts, plot.Tick{Value: v, Label: name(v)})
	}
	return ts
}

// decades are ticks at 1, 10, 100 ... nanoseconds.
func decades(from, to float64) plot.ConstantTicks {
	var at []float64
	for v := math.Pow(10, math.Ceil(math.Log10(from))); v <= to; v *= 10 {
		at = append(at, v)
	}
	return ticks(at, duration)
}
