package pipeline

import (
	"time"

	"github.com/lbshipd/lbshipd/positions"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

// remember stores where an input begins that no target has a position in, under
// the key of its source alone: a file that is rotated away while there is no
// target is otherwise known to nobody once the source or the daemon starts anew.
// It is forgotten with the first position of a target.
func (r *inputRun) remember() {
	if _, comes := r.input.(sources.Newcomer); !comes {
		return // it is always there
	}
	r.ops.Lock()
	defer r.ops.Unlock()
	source, input, store := r.src.cfg.Name, r.input.Origin().Input, r.src.sup.store
	key := positions.Key{Source: source, Input: input}
	_, marked := store.Get(key)
	if _, known := store.Latest(source, input); !known && !marked {
		store.Set(key, r.input.Start())
	}
}

// begin is where the input begins for a target that is to have all of it.
func (r *inputRun) begin() record.Position {
	if pos, ok := r.src.sup.store.Get(positions.Key{Source: r.src.cfg.Name, Input: r.input.Origin().Input}); ok {
		return pos
	}
	return r.input.Start()
}

// remember stores that the target was sent something of the source, which
// outlives the positions of inputs that are done with: what appears while it is
// away is kept for it, and it does not begin as a new one.
func (t *target) remember(store *positions.Store, source string) {
	key := positions.Key{Source: source, Target: t.name}
	if _, ok := store.Get(key); !ok {
		store.Set(key, startedText)
	}
}

// removedFor is how long what is done with is kept for a target that is not
// configured any more; for one that is disabled it is kept as long as positions are.
const removedFor = 24 * time.Hour

// away lists the targets that may come back to the source that stored is of.
func (s *Supervisor) away(stored []positions.Entry) map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, configured := names(s.cfg)
	since, away := time.Now().Add(-removedFor).Unix(), map[string]bool{}
	for _, e := range stored {
		if e.Target == "" || e.Input != "" || s.targets[e.Target] != nil {
			continue
		}
		if _, ok := configured[e.Target]; ok || e.Updated >= since {
			away[e.Target] = true
		}
	}
	return away
}

// leave notes when a target went away from its sources.
func (s *Supervisor) leave(t *target) {
	for _, e := range s.store.Entries("") {
		if e.Target == t.name && e.Input == "" {
			s.store.Set(e.Key, e.Position)
		}
	}
}

// keptFor reports whether somebody has not had all of an input that ends at end:
// who has another position in it, or a target that is away and has none. stored
// are all positions of the source.
func keptFor(away map[string]bool, stored []positions.Entry, input string, end record.Position) bool {
	for _, e := range stored {
		if e.Input != input || e.Target == "" {
			continue
		}
		if e.Position != end {
			return true
		}
		delete(away, e.Target)
	}
	return len(away) > 0
}

// lacks reports whether a source holds something for a target of p that comes back
// which its run has done with: discovered anew, it finds it again.
func (s *Supervisor) lacks(r *sourceRun, p *plan) bool {
	source, there := r.cfg.Name, r.inputNames()
	ends := map[string]map[record.Position]bool{} // where targets are in inputs that are done with
	for _, e := range s.store.Entries(source) {
		if e.Input == "" || there[e.Input] {
			continue
		}
		if ends[e.Input] == nil {
			ends[e.Input] = map[record.Position]bool{}
		}
		ends[e.Input][e.Position] = true
	}
	for name, t := range p.targets {
		if s.targets[name] != nil || !t.knew[source] {
			continue
		}
		for input, at := range ends {
			if _, ok := s.store.Get(positions.Key{Source: source, Target: name, Input: input}); !ok || len(at) > 1 {
				return true
			}
		}
	}
	return false
}

// inputNames are the keys of the inputs at work.
func (r *sourceRun) inputNames() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := map[string]bool{}
	for name := range r.inputs {
		names[name] = true
	}
	return names
}
