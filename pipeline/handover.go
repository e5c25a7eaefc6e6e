package pipeline

import "github.com/lbshipd/lbshipd/sources"

// stop ends reading and discovery. What is queued stays queued.
func (r *sourceRun) stop() {
	r.stopReading()
	r.stopLooking()
}

// stopReading ends reading. What is discovered from now on is remembered only: for
// the source that replaces this one.
func (r *sourceRun) stopReading() {
	if r.cancel == nil {
		return
	}
	r.cancel()
	for _, run := range r.runs() {
		run.ops.Lock()
		run.halt()
		run.ops.Unlock()
	}
}

// stopLooking ends discovery, and notes up to when it has watched.
func (r *sourceRun) stopLooking() {
	if r.blind == nil {
		return
	}
	r.blind()
	<-r.done
	if at := r.looked(); !at.IsZero() {
		r.mark(at)
	} else if at := r.sup.store.FileTime(); !at.IsZero() {
		if seen := r.watched(); seen.Before(at) {
			at = seen
		}
		r.mark(at)
	}
}

// inherit lets the source take over what the one that it replaces has open.
func (r *sourceRun) inherit(former *sourceRun) {
	if h, ok := r.source.(sources.Heir); ok && former != nil {
		h.Inherit(former.source)
	}
}

// stopLookingBut ends the discovery of old sources, but not of those that are replaced:
// they go on watching until there is somebody else who does. It returns those, by name.
func stopLookingBut(old []*sourceRun, by map[string]*sourceRun) map[string]*sourceRun {
	replaced := map[string]*sourceRun{}
	var gone []*sourceRun
	for _, r := range old {
		if by[r.cfg.Name] != nil {
			replaced[r.cfg.Name] = r
		} else {
			gone = append(gone, r)
		}
	}
	each(gone, (*sourceRun).stopLooking)
	return replaced
}
