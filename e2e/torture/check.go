package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// owed counts what must still arrive, by target.
func (b *book) owed() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.writers {
		for _, target := range b.targets {
			n += len(b.missing(l, target))
		}
	}
	return n
}

// missing lists the numbers that have to be at a target and are not.
func (b *book) missing(l *ledger, target string) (missing []int) {
	s := l.at[target]
	for n := range l.records {
		w := &l.records[n]
		switch {
		case s.times[n] > 0, w.duty == never, w.duty == may, w.gone:
		case w.duty == refuse && target == "loki":
			if _, ok := s.refuse[n]; !ok {
				missing = append(missing, n)
			}
		default:
			missing = append(missing, n)
		}
	}
	return missing
}

// excuse says why a missing record need not arrive; "" if it has to.
// resets are the moments when the target threw away what its kernel held.
func (b *book) excuse(l *ledger, target string, n int, d *daemon, resets []int64) string {
	if len(l.gens) > 0 {
		g := l.gens[l.records[n].gen]
		if g.brief() && d.withoutInotify() {
			return "rotated unseen, without inotify"
		}
		switch g.how {
		case "copytruncate", "truncate":
			return "truncated"
		case "delete+create":
			// It is gone if the daemon died before it had delivered it, or never saw
			// it. A daemon that lives holds it open.
			if len(d.deathsAfter(g.vanished)) > 0 {
				return "deleted"
			}
			if d.deafFor(g) {
				return "deleted unseen"
			}
		case "compress":
			// Of a file of which no answer was stored the daemon does not know the
			// content, when it is back, and there is nothing else to know it by.
			for _, t := range d.deathsAfter(g.ended) {
				if !b.begun(l, target, l.records[n].gen, t.Add(-storedWithin)) {
					return "compressed unanswered"
				}
			}
		}
	}
	return b.excuseReset(l, target, n, resets)
}

// excuseReset says whether a record is one that a target's kernel had taken when its
// connection ended: it was sent between those that arrived before and behind that.
func (b *book) excuseReset(l *ledger, target string, n int, resets []int64) string {
	before, after := l.at[target].around(n)
	for _, t := range resets {
		if before <= t && t <= after {
			return "reset"
		}
	}
	return ""
}

// around returns when those arrived first that were sent before and behind a record, Unix ns. One before
// it that arrived first after one behind it was thrown away with it, and came from elsewhere.
func (s *shelf) around(n int) (before, after int64) {
	after = time.Now().UnixNano()
	for i := n + 1; i < len(s.first); i++ {
		if s.first[i] > 0 {
			after = s.first[i]
			break
		}
	}
	for i := n - 1; i >= 0; i-- {
		if s.first[i] > 0 && s.first[i] <= after {
			before = s.first[i]
			break
		}
	}
	return before, after
}

// storedWithin is when an answer is stored at the latest: a second, and as long
// as the disk may be full.
const storedWithin = 8 * time.Second

// begun reports whether a target had anything of a file by a time.
func (b *book) begun(l *ledger, target string, gen int32, by time.Time) bool {
	s := l.at[target]
	for n := range l.records {
		if l.records[n].gen == gen && s.first[n] > 0 && s.first[n] < by.UnixNano() {
			return true
		}
	}
	return false
}

// settle finds everything that is missing without an excuse, and returns how
// many records each excuse covers, and the bytes lost to truncation by target.
func (s *scene) settle() (excused map[string]int, truncated map[string]int) {
	b := s.book
	b.mu.Lock()
	defer b.mu.Unlock()
	excused, truncated = map[string]int{}, map[string]int{}
	thrown := 0
	defer func() {
		if allowed := s.siem.unread + len(s.daemon.deaths)<<20; thrown > allowed {
			b.findLocked("lost", "siem lacks %d bytes around resets, and its kernel threw away %d at most", thrown, allowed)
		}
	}()
	for _, name := range b.names {
		l := b.writers[name]
		for _, target := range b.targets {
			var resets []int64
			if target == "siem" {
				resets = s.siemEnds()
			}
			var lost, cut []int
			for _, n := range b.missing(l, target) {
				why := b.excuse(l, target, n, s.daemon, resets)
				switch why {
				case "":
					lost = append(lost, n)
				case "truncated":
					truncated[target] += int(l.records[n].size)
					if target != "siem" || b.excuseReset(l, target, n, resets) == "" {
						cut = append(cut, n)
					}
				}
				if why == "reset" {
					thrown += int(l.records[n].size)
					s.thrown[l.source+target]++
				}
				if why != "" {
					excused[target+" "+why]++
				}
			}
			b.mustBeTail(l, target, cut)
			if len(lost) > 0 {
				g := ""
				if len(l.gens) > 0 {
					g = s.lives(l, lost[0])
				}
				b.findLocked("lost", "%s lacks %d records of %s: %s%s", target, len(lost), name, runs(lost), g)
			}
		}
	}
	return excused, truncated
}

// lives says from when to when the file was there that a record is in.
func (s *scene) lives(l *ledger, n int) string {
	at := l.records[n].gen
	g := l.gens[at]
	since := func(t time.Time) float64 { return t.Sub(s.began).Seconds() }
	return fmt.Sprintf(" (%d is in file %d of it, which was there from %.3f to %.3f: %s)", n, at, since(g.made), since(g.ended), g.how)
}

// repeats notes how often records came again, by target and writer.
func (s *scene) repeats() {
	s.book.mu.Lock()
	defer s.book.mu.Unlock()
	for _, name := range s.book.names {
		l := s.book.writers[name]
		for _, target := range s.book.targets {
			again, most, at := 0, 0, 0
			for n, times := range l.at[target].times {
				if times > 1 {
					again += int(times) - 1
				}
				if int(times) > most {
					most, at = int(times), n
				}
			}
			if again > 0 {
				s.note("%s has %d repeats of the %d records of %s, the most of number %d: %d times", target, again, len(l.records), name, at, most)
			}
		}
	}
}

// mustBeTail finds truncated records behind which others of the same file arrived. Of
// Loki's, others of the same stream, that is of the same level: a request that was too
// large is sent in parts, and where a part was stored and no answer came before the
// daemon died, what is read again of the rest is gone with the truncation.
func (b *book) mustBeTail(l *ledger, target string, missing []int) {
	s := l.at[target]
	type stream struct {
		gen  int32
		rank uint8
	}
	of := func(n int) stream {
		if target == "loki" {
			return stream{l.records[n].gen, l.records[n].rank}
		}
		return stream{gen: l.records[n].gen}
	}
	last := map[stream]int{} // the last that arrived
	for n := range l.records {
		if s.times[n] > 0 {
			last[of(n)] = n
		}
	}
	var holes []int
	ranks := map[uint8]int{}
	for _, n := range missing {
		if n < last[of(n)] {
			holes = append(holes, n)
			ranks[l.records[n].rank]++
		}
	}
	if len(holes) > 0 {
		g := l.gens[l.records[holes[0]].gen]
		before, after := s.around(holes[0])
		since := func(ns int64) float64 { return time.Unix(0, ns).Sub(b.began).Seconds() }
		b.findLocked("lost", "%s lacks %s %s, and has what is behind in the same file (by level: %v; the first is in file %d, which was there from %.3f to %.3f: %s, and arrived up to %d; around it others arrived at %.3f and %.3f)",
			target, l.name, runs(holes), ranks, l.records[holes[0]].gen, g.made.Sub(b.began).Seconds(), g.ended.Sub(b.began).Seconds(), g.how, last[of(holes[0])], since(before), since(after))
	}
}

// runs writes numbers as 1-5, 8.
func runs(numbers []int) string {
	var out []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		out = append(out, fmt.Sprintf("%d-%d", numbers[i], numbers[j]))
		if i = j + 1; len(out) == 20 {
			return strings.Join(out, ", ") + ", ..."
		}
	}
	return strings.Join(out, ", ")
}

// audit compares the daemon's own ledger with the book.
func (s *scene) audit(m map[string]float64, truncated map[string]int) {
	b := s.book
	b.mu.Lock()
	defer b.mu.Unlock()
	bySource := map[string][]*ledger{}
	for _, name := range b.names {
		l := b.writers[name]
		bySource[l.source] = append(bySource[l.source], l)
	}
	for _, source := range slices.Sorted(maps.Keys(bySource)) {
		for _, target := range b.targets {
			s.auditPair(m, source, target, bySource[source], truncated[target])
		}
	}
}

// sum adds up the series of a metric that carry these labels.
func sum(m map[string]float64, name, source, target string) (total float64, found bool) {
	for series, v := range m {
		if strings.HasPrefix(series, name+"{") && strings.Contains(series, `source="`+source+`"`) && strings.Contains(series, `target="`+target+`"`) {
			total += v
			found = true
		}
	}
	return total, found
}

func (s *scene) auditPair(m map[string]float64, source, target string, of []*ledger, truncated int) {
	b := s.book
	value := func(what string) int {
		v, _ := sum(m, "lbshipd_ledger_"+what, source, target)
		return int(v)
	}
	if _, ok := sum(m, "lbshipd_ledger_read_records", source, target); !ok {
		b.findLocked("ledger", "%s to %s: there is no ledger", source, target)
		return
	}
	read, delivered, filtered, refused := value("read_records"), value("delivered_records"), value("filtered_records"), value("refused_records")
	lost, flying := value("lost_records"), value("in_flight_records")
	text := fmt.Sprintf("%s to %s: read %d, delivered %d, filtered %d, refused %d, lost %d records and %d bytes in %d gaps, in flight %d", source, target,
		read, delivered, filtered, refused, lost, value("lost_bytes"), value("gaps"), flying)
	s.note("ledger of %s", text)
	if read != delivered+filtered+refused+lost+flying || value("difference_records") != 0 {
		b.findLocked("ledger", "%s: does not add up", text)
	}
	if flying != 0 {
		b.findLocked("ledger", "%s: and everything is answered", text)
	}
	var wrote, arrived, sentAway int
	unsafe, varies, copied := false, false, false
	for _, l := range of {
		wrote += len(l.records)
		for n := range l.records {
			if l.at[target].times[n] > 0 {
				arrived++
			}
			varies = varies || l.records[n].duty == may
		}
		sentAway += len(l.at[target].refuse)
		unsafe, copied = unsafe || l.unsafe, copied || l.copied // what comes out of a copy may be refused once more
	}
	if unsafe {
		return // its journal was damaged: nobody knows
	}
	if refused != sentAway && !copied && source != "logfmt" && source != "packed" {
		why := ""
		for series, v := range m {
			if strings.HasPrefix(series, "lbshipd_ledger_refused") && strings.Contains(series, `source="`+source+`"`) {
				why += fmt.Sprintf(" %s %v", series, v)
			}
		}
		b.findLocked("ledger", "%s: but %d were refused:%s", text, sentAway, why)
	}
	switch source {
	case "cut":
		s.auditCut(text, target, value("lost_bytes"), value("unsized_gaps"), truncated)
	case "logfmt", "packed":
		// Files that were deleted before they were read are not all known by number.
	default:
		if read != wrote && !s.daemon.withoutInotify() {
			b.findLocked("ledger", "%s: but %d were written", text, wrote)
		}
		if !varies && refused+delivered != arrived+sentAway+s.thrown[source+target] {
			b.findLocked("ledger", "%s: but %d arrived", text, arrived)
		}
	}
}

// auditCut compares the bytes that truncation destroyed with those that the
// ledger has as lost.
func (s *scene) auditCut(text, target string, lost, unsized, destroyed int) {
	if destroyed > 0 && lost == 0 && unsized == 0 {
		s.book.findLocked("ledger", "%s: but truncation destroyed %d bytes", text, destroyed)
	}
	s.note("truncation destroyed %d bytes that %s had not got; the ledger has %d as lost, and %d gaps of unknown size", destroyed, target, lost, unsized)
}
