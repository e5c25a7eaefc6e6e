package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// bed is what the rigs of internal/testbed need of a test, for a program.
type bed struct {
	mu       sync.Mutex
	cleanups []func()
}

var _ testbed.TB = (*bed)(nil)

// broken is the panic by which a rig that cannot go on ends the run.
type broken struct{ text string }

func (b *bed) Helper() {}

func (b *bed) Fatalf(format string, args ...any) { panic(broken{fmt.Sprintf(format, args...)}) }

func (b *bed) Skipf(format string, args ...any) { b.Fatalf(format, args...) }

func (b *bed) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (b *bed) Cleanup(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cleanups = append(b.cleanups, f)
}

// clean runs what was registered, the newest first.
func (b *bed) clean() {
	for {
		b.mu.Lock()
		n := len(b.cleanups)
		if n == 0 {
			b.mu.Unlock()
			return
		}
		f := b.cleanups[n-1]
		b.cleanups = b.cleanups[:n-1]
		b.mu.Unlock()
		f()
	}
}

// dice are random numbers of one purpose. All come from the run's seed, so that
// a run can be played again; who throws them when is up to the machine.
type dice struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newDice(seed uint64, purpose string) *dice {
	h := uint64(14695981039346656037)
	for i := range len(purpose) {
		h = (h ^ uint64(purpose[i])) * 1099511628211
	}
	return &dice{r: rand.New(rand.NewPCG(seed, h))}
}

// n is one of 0 to n-1.
func (d *dice) n(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r.IntN(n)
}

// chance is true once in so many throws.
func (d *dice) chance(in int) bool { return d.n(in) == 0 }

// deck deals each of its cards once before any comes again, so that a machine on
// which little happens sees every kind of fault too.
type deck struct {
	dice  *dice
	cards []string
	mu    sync.Mutex
	left  []string
}

func newDeck(d *dice, cards []string) *deck { return &deck{dice: d, cards: cards} }

func (k *deck) deal() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.left) == 0 {
		k.left = slices.Clone(k.cards)
	}
	at := k.dice.n(len(k.left))
	card := k.left[at]
	k.left = slices.Delete(k.left, at, at+1)
	return card
}

// between is a time from..to.
func (d *dice) between(from, to time.Duration) time.Duration {
	return from + time.Duration(d.n(int(to-from)+1))
}

// counts says how often each thing really happened.
type counts struct {
	mu sync.Mutex
	n  map[string]int
}

func newCounts() *counts { return &counts{n: map[string]int{}} }

func (c *counts) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n[what]++
}

func (c *counts) of(what string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[what]
}

func (c *counts) all() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]int, len(c.n))
	for k, v := range c.n {
		out[k] = v
	}
	return out
}

// await polls until cond holds, at most for so long.
func await(within time.Duration, cond func() bool) bool {
	for deadline := time.Now().Add(within); !cond(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}
