package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Limits of the configuration that lines are made to meet.
const (
	lokiMaxLine  = 30 << 10 // of the fake Loki
	jsonMaxLine  = 32 << 10 // maxLineBytes of the source "json"
	siemMaxBytes = 120 << 10
)

// fileWriter writes one log file and rotates it in its own ways.
type fileWriter struct {
	l       *ledger
	book    *book
	dice    *dice
	count   *counts
	path    string
	format  string // raw, json, logfmt, cri
	ways    []string
	perTick int  // lines in 20 ms, on average
	varies  bool // the minLevel of its source changes, and its maxLineBytes is small
	file    *os.File
	number  int
	clock   int64
	gen     *generation
	rotated int
}

const tick = 20 * time.Millisecond

// run writes until ctx ends.
func (w *fileWriter) run(ctx context.Context) {
	if err := w.create(); err != nil {
		w.book.find("rig", "writing %s: %v", w.path, err)
		return
	}
	rotate := time.Now().Add(w.dice.between(time.Second, 4*time.Second))
	for ctx.Err() == nil {
		lines := w.dice.n(2*w.perTick + 1)
		if w.dice.chance(200) {
			lines = 40 * w.perTick // a burst
		}
		for range lines {
			if err := w.line(); err != nil {
				w.book.find("rig", "writing %s: %v", w.path, err)
				return
			}
		}
		if time.Now().After(rotate) {
			if err := w.rotate(ctx, w.ways[w.dice.n(len(w.ways))]); err != nil {
				w.book.find("rig", "rotating %s: %v", w.path, err)
				return
			}
			rotate = time.Now().Add(w.dice.between(500*time.Millisecond, 6*time.Second))
		}
		select {
		case <-ctx.Done():
		case <-time.After(tick):
		}
	}
	w.file.Close()
}

// create begins a new file.
func (w *fileWriter) create() error {
	f, err := os.OpenFile(w.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	w.file = f
	w.begin()
	return nil
}

func (w *fileWriter) begin() {
	w.gen = &generation{made: time.Now()}
	w.book.mu.Lock()
	w.l.gens = append(w.l.gens, w.gen)
	w.book.mu.Unlock()
}

// end notes what became of the generation.
func (w *fileWriter) end(how string, vanished bool) {
	w.book.mu.Lock()
	w.gen.ended, w.gen.how = time.Now(), how
	if vanished {
		w.gen.vanished = w.gen.ended
	}
	w.book.mu.Unlock()
	w.count.add("rotation " + how)
}

// rotate does it in one way.
func (w *fileWriter) rotate(ctx context.Context, way string) error {
	switch way {
	case "quick chain":
		for range 2 + w.dice.n(4) {
			if err := w.rename(way); err != nil {
				return err
			}
			for range w.dice.n(5) {
				if err := w.line(); err != nil {
					return err
				}
			}
			time.Sleep(w.dice.between(0, 30*time.Millisecond))
		}
		return nil
	case "delete+create":
		if err := os.Remove(w.path); err != nil {
			return err
		}
		w.end(way, true)
		w.file.Close()
		return w.create()
	case "copytruncate":
		w.rotated++
		text, err := os.ReadFile(w.path)
		if err == nil {
			err = os.WriteFile(fmt.Sprintf("%s.%d", w.path, w.rotated), text, 0o644)
		}
		if err != nil {
			return err
		}
		fallthrough
	case "truncate":
		if err := w.file.Truncate(0); err != nil {
			return err
		}
		w.end(way, true)
		w.begin()
		return nil
	case "compress":
		if err := w.rename(way); err != nil {
			return err
		}
		name, gen := fmt.Sprintf("%s.%d", w.path, w.rotated), w.l.gens[len(w.l.gens)-2]
		wait := w.dice.between(0, 3*time.Second)
		go func() { // logrotate compresses a while later, or at once
			time.Sleep(wait)
			if err := compress(name); err != nil {
				w.book.find("rig", "compressing %s: %v", name, err)
			}
			w.book.mu.Lock()
			gen.vanished = time.Now()
			w.book.mu.Unlock()
		}()
		return nil
	}
	return w.rename(way)
}

// rename moves the file away and begins a new one. The shift of numbers is logrotate's.
func (w *fileWriter) rename(way string) error {
	w.rotated++
	if way == "shift" {
		for n := w.rotated; n > 1; n-- {
			err := os.Rename(fmt.Sprintf("%s.%d", w.path, n-1), fmt.Sprintf("%s.%d", w.path, n))
			if err != nil && !os.IsNotExist(err) {
				return err
			}
		}
		if err := os.Rename(w.path, w.path+".1"); err != nil {
			return err
		}
	} else if err := os.Rename(w.path, fmt.Sprintf("%s.%d", w.path, w.rotated)); err != nil {
		return err
	}
	w.end(way, false)
	w.file.Close()
	return w.create()
}

// line writes one record.
func (w *fileWriter) line() error {
	n := w.number
	w.number++
	w.clock = max(w.clock+1, time.Now().UnixNano())
	level, rank := someLevel(w.dice)
	rec := written{own: true, gen: int32(len(w.l.gens) - 1)}
	text := strings.TrimSpace(id(w.l.name, n) + " " + pad(w.dice))
	at := time.Unix(0, w.clock).UTC()
	if w.format == "json" && w.dice.chance(1500) { // Loki refuses it: too new
		at, rec.duty = at.Add(time.Hour), refuse
		level, rank = "error", 4
	}
	stamp := at.Format(time.RFC3339Nano)
	var line, payload string
	switch w.format {
	case "raw":
		line, rec.own, rank = text, false, 9
		payload = line
	case "json":
		line = fmt.Sprintf(`{"time":%q,"level":%q,"msg":"%s"}`, stamp, level, text)
		if w.dice.chance(300) {
			line = w.nearLimit(stamp, text)
			rank = 4
		}
		payload = line
		if len(line) > jsonMaxLine && w.varies {
			payload, rec.own = line[:jsonMaxLine], false // cut, so that its time may be another
		}
	case "logfmt":
		line = fmt.Sprintf(`time=%s level=%s msg="%s"`, stamp, level, text)
		payload = line
	case "cri":
		line, payload, rank = w.parts(stamp, text), text, 9
	}
	switch {
	case rank < 2:
		rec.duty = never
	case rank == 2 && w.varies:
		rec.duty = may
	case len(payload) > lokiMaxLine:
		rec.duty = refuse
	}
	rec.size, rec.rank = int32(len(line)+1), uint8(rank)
	w.book.wrote(w.l, rec, []byte(payload))
	return w.put(line + "\n")
}

// put writes a line, now and then in two pieces.
func (w *fileWriter) put(line string) error {
	if w.dice.chance(100) {
		at := w.dice.n(len(line))
		if _, err := w.file.WriteString(line[:at]); err != nil {
			return err
		}
		time.Sleep(w.dice.between(0, 50*time.Millisecond))
		line = line[at:]
	}
	_, err := w.file.WriteString(line)
	return err
}

// nearLimit is a line of just about maxLineBytes.
func (w *fileWriter) nearLimit(stamp, text string) string {
	head := fmt.Sprintf(`{"time":%q,"level":"error","msg":"%.60s `, stamp, strings.ToValidUTF8(text, ""))
	head = strings.ToValidUTF8(head, "")
	size := jsonMaxLine - 2 + w.dice.n(5)
	return head + strings.Repeat("x", max(0, size-len(head)-2)) + `"}`
}

// parts writes a line as a container runtime does, which splits long ones.
func (w *fileWriter) parts(stamp, text string) string {
	var b strings.Builder
	for len(text) > 0 && (len(text) > 4096 || w.dice.chance(20)) && len(text) > 10 {
		at := min(len(text)/2, 4096)
		fmt.Fprintf(&b, "%s stdout P %s\n", stamp, text[:at])
		text = text[at:]
	}
	fmt.Fprintf(&b, "%s stdout F %s", stamp, text)
	return b.String()
}

// someLevel returns a level and its rank: below info 1, info 2, above it 3.
func someLevel(d *dice) (string, int) {
	switch n := d.n(10); {
	case n < 2:
		return "debug", 1
	case n < 6:
		return "info", 2
	case n < 8:
		return "warning", 3
	}
	return "error", 4
}

// dough is what pads are cut from: text of all kinds, without quotes.
var dough = []rune(strings.Repeat("The quick brown fox jumps over 13 lazy dogs. ", 40) +
	strings.Repeat("Größe übertrifft Ärger; naïve façade, Đorđe, Ελλάδα, Москва́, עברית, العربية, 日本語のログ, 한국어, 😀🚀👩‍👩‍👧‍👦 \u200f\u202e\ufeff\ufffd ", 60) +
	strings.Repeat("0123456789abcdef", 300))

// pad is filling of a size that is mostly small and now and then huge.
func pad(d *dice) string {
	size := 0
	switch n := d.n(1000); {
	case n < 600:
		size = d.n(100)
	case n < 930:
		size = d.n(1000)
	case n < 995:
		size = 1000 + d.n(6000)
	default:
		size = 8000 + d.n(10000)
	}
	var b strings.Builder
	for size > 0 {
		at := d.n(len(dough))
		n := min(size, len(dough)-at)
		b.WriteString(string(dough[at : at+n]))
		size -= n
	}
	return strings.TrimSpace(b.String())
}

func compress(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if err := writeGzip(name+".gz.tmp", text); err != nil {
		return err
	}
	if err := os.Rename(name+".gz.tmp", name+".gz"); err != nil {
		return err
	}
	return os.Remove(name)
}

func (w *fileWriter) glob() string { return filepath.Join(filepath.Dir(w.path), "*.log") }
