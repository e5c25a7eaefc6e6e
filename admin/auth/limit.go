package auth

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiters is a bounded table of rate limiters by key. When it is full, those
// that were not used since it was last full are forgotten.
type limiters struct {
	limit rate.Limit
	burst int
	size  int // of each of the two maps

	mu         sync.Mutex
	young, old map[string]*rate.Limiter
}

func newLimiters(limit rate.Limit, burst, size int) *limiters {
	return &limiters{limit: limit, burst: burst, size: size, young: map[string]*rate.Limiter{}}
}

func (l *limiters) of(key string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.young[key]; r != nil {
		return r
	}
	r := l.old[key]
	if r == nil {
		r = rate.NewLimiter(l.limit, l.burst)
	}
	if len(l.young) >= l.size {
		l.young, l.old = make(map[string]*rate.Limiter), l.young
	}
	l.young[key] = r
	return r
}

// take uses one up; if there is none, it says when there will be.
func (l *limiters) take(key string, now time.Time) (after time.Duration, ok bool) {
	r := l.of(key)
	if r.AllowN(now, 1) {
		return 0, true
	}
	return l.until(r, now), false
}

// left reports whether there is one, without using it up.
func (l *limiters) left(key string, now time.Time) (after time.Duration, ok bool) {
	r := l.of(key)
	if r.TokensAt(now) >= 1 {
		return 0, true
	}
	return l.until(r, now), false
}

func (l *limiters) until(r *rate.Limiter, now time.Time) time.Duration {
	missing := 1 - r.TokensAt(now)
	return max(time.Duration(missing/float64(l.limit)*float64(time.Second)), time.Millisecond)
}

// unixHost stands for the other ends of Unix sockets, which have no address.
const unixHost = "unix"

// remoteKey is what stands for a remote address: all of an IPv6 /64 is one,
// since whoever has one address there has them all.
func remoteKey(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return unixHost
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return host
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is4() {
		return ip.String()
	}
	prefix, _ := ip.Prefix(64)
	return prefix.String()
}
