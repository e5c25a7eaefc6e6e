package main

import (
	"fmt"
	"hash/maphash"
	"strings"
	"time"
)

// lokiRules are what the real Loki does with a push that reaches it, as far
// as it decides about lines. TestFakeLokiAnswersAsTheRealOne holds them against it.
type lokiRules struct {
	maxLine int // max_line_size, bytes
	seed    maphash.Seed
	streams map[string]*lokiStream
}

type lokiStream struct {
	newest int64
	have   map[uint64]struct{} // time, line and metadata of what is stored
}

const (
	creationGrace = 10 * time.Minute // creation_grace_period
	behindLimit   = time.Hour        // half of max_chunk_age
)

func newLokiRules(maxLine int) *lokiRules {
	return &lokiRules{maxLine: maxLine, seed: maphash.MakeSeed(), streams: map[string]*lokiStream{}}
}

// push decides about a push: the answer, and which lines are stored anew and
// which are refused for good.
func (l *lokiRules) push(now time.Time, streams []pushStream) (status int, body string, stored, refused []storedLine) {
	if len(streams) == 0 {
		return 422, "error at least one valid stream is required for ingestion\n", nil, nil
	}
	var complaints []string // of the distributor, which looks at all lines first
	ingester := ""          // the ingester's word, of the last stream only
	for _, s := range streams {
		var valid []pushEntry
		for _, e := range s.entries {
			if why := l.validate(now, s.labels, e); why != "" {
				complaints = append(complaints, why)
				refused = append(refused, storedLine{s.labels, e})
				continue
			}
			valid = append(valid, e)
		}
		if len(valid) == 0 {
			continue
		}
		kept, behind := l.ingest(s.labels, valid, &ingester)
		stored = append(stored, kept...)
		refused = append(refused, behind...)
	}
	switch {
	case ingester != "":
		return 400, ingester, stored, refused
	case len(complaints) > 0:
		return 400, grouped(complaints), stored, refused
	}
	return 204, "", stored, refused
}

// storedLine is a line with its stream.
type storedLine struct {
	labels string
	pushEntry
}

// validate is the distributor's part.
func (l *lokiRules) validate(now time.Time, labels string, e pushEntry) string {
	if e.at > now.Add(creationGrace).UnixNano() {
		return fmt.Sprintf("entry for stream '%s' has timestamp too new: %s", labels, time.Unix(0, e.at).UTC().Format(time.RFC3339))
	}
	if len(e.line) > l.maxLine {
		return fmt.Sprintf("max entry size '%d' bytes exceeded for stream '%s' while adding an entry with length '%d' bytes", l.maxLine, labels, len(e.line))
	}
	return ""
}

// ingest is the ingester's part for one stream. It leaves its complaint in
// say, or takes away what an earlier stream left there, as the real one does.
func (l *lokiRules) ingest(labels string, entries []pushEntry, say *string) (stored, refused []storedLine) {
	s := l.streams[labels]
	if s == nil {
		s = &lokiStream{have: map[uint64]struct{}{}}
		l.streams[labels] = s
	}
	*say = ""
	var text strings.Builder
	for _, e := range entries {
		if oldest := s.newest - int64(behindLimit); s.newest != 0 && e.at < oldest {
			if len(refused) < 10 {
				fmt.Fprintf(&text, "entry with timestamp %s ignored, reason: 'entry too far behind, entry timestamp is: %s, oldest acceptable timestamp is: %s',\n",
					time.Unix(0, e.at).UTC().String(), time.Unix(0, e.at).UTC().Format(time.RFC3339), time.Unix(0, oldest).UTC().Format(time.RFC3339))
			}
			refused = append(refused, storedLine{labels, e})
			continue
		}
		s.newest = max(s.newest, e.at)
		key := maphash.Bytes(l.seed, fmt.Appendf(nil, "%d %s\x00%s", e.at, e.line, e.meta))
		if _, have := s.have[key]; have {
			continue
		}
		s.have[key] = struct{}{}
		stored = append(stored, storedLine{labels, e})
	}
	if len(refused) > 0 {
		fmt.Fprintf(&text, "user 'fake', total ignored: %d out of %d for stream: %s\n", len(refused), len(entries), labels)
		*say = text.String()
	}
	return stored, refused
}

// grouped writes the distributor's complaints as Loki's GroupedErrors does.
func grouped(complaints []string) string {
	if len(complaints) == 1 {
		return complaints[0] + "\n"
	}
	var order []string
	times := map[string]int{}
	for _, c := range complaints {
		if times[c]++; times[c] == 1 {
			order = append(order, c)
		}
	}
	var parts []string
	for _, c := range order {
		parts = append(parts, fmt.Sprintf("%d errors like: %s", times[c], c))
	}
	return strings.Join(parts, "; ") + "\n"
}
