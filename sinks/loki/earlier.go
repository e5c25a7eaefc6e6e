package loki

import (
	"math"
	"strings"
	"time"
)

// earlier is what an earlier answer says of lines that are sent again to find
// out which of them it refused. Loki has stored the others, and drops them as
// duplicates, but for those that are by now too far behind the newest line that it
// stored with them: these it refuses, and has them all the same.
type earlier struct {
	again bool
	// behind is the time from which on no line was too far behind then.
	behind int64
}

// stored reports whether a line that is refused now was stored before.
func (e earlier) stored(x *found) bool {
	return e.again && x.reason == reasonBehind && x.f.rec.Time >= e.behind
}

// after returns what is known once the answer a refused some of the parts. The
// first answer counts: only then were all of the lines new.
func (e earlier) after(a *answer, parts []part) earlier {
	if e.again {
		return e
	}
	e = earlier{true, math.MaxInt64}
	switch {
	case !a.whole || a.status >= 500:
	case !strings.Contains(a.body, ignoredWords):
		// The distributor spoke, so the ingester took what it was given.
		e.behind = math.MinInt64
	case len(parts) == 1:
		if limit, ok := behindLimit(a.body); ok {
			e.behind = limit.Add(time.Second).UnixNano()
		}
	}
	return e
}
