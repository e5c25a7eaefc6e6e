package journald

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
)

var _ sources.Risker = (*Source)(nil)

// surveyEvery is how often the directories are looked at for Risk, at most.
const surveyEvery = 5 * time.Second

// surveys keeps the last look at the directories. It is safe for concurrent use.
type surveys struct {
	mu    sync.Mutex
	at    time.Time
	found []*survey
}

// Risk implements sources.Risker. Bytes are those of the journal files behind
// pos, matching or not. Left is known where a journald of this machine writes: it is when
// that, at the rate of late and by the limits in its configuration, drops the file that holds
// the first entry behind pos. It is an estimate: right within a factor of 2 while
// the rate holds.
func (s *Source) Risk(pos record.Position) (sources.Risk, bool) {
	var from *location
	if pos != "" {
		loc, err := parseCursor(string(pos))
		if err != nil {
			return sources.Risk{}, false
		}
		from = &loc
	}
	risk := sources.Risk{Left: -1}
	for _, v := range s.survey() {
		bytes, left := v.risk(from)
		risk.Bytes += bytes
		if left >= 0 && (risk.Left < 0 || left < risk.Left) {
			risk.Left = left
		}
	}
	return risk, true
}

func (s *Source) survey() []*survey {
	s.surveys.mu.Lock()
	defer s.surveys.mu.Unlock()
	now := time.Now()
	if s.surveys.found != nil && now.Sub(s.surveys.at) < surveyEvery {
		return s.surveys.found
	}
	s.surveys.at, s.surveys.found = now, surveyAll(s.cfg.Journald.Directory, s.files, now)
	return s.surveys.found
}

// survey is what one directory of journal files holds.
type survey struct {
	now   time.Time
	files []surveyed // oldest first: journald drops them in this order
	// Of a directory that a journald of this machine keeps.
	own    bool
	limits limits
	keeps  int64   // bytes of archived files that it keeps; 0: any number
	rate   float64 // bytes of content per second, lately
}

// surveyed is one journal file.
type surveyed struct {
	path     string
	hdr      header
	usage    int64 // bytes on disk
	content  int64 // bytes that entries and their data take
	archived bool
}

func surveyAll(root string, files []string, now time.Time) []*survey {
	d := &directories{root: root, files: files, notify: -1}
	byDir := map[string]*survey{}
	list := []*survey{}
	for _, path := range d.list(now) {
		dir := filepath.Dir(path)
		v := byDir[dir]
		if v == nil {
			v = &survey{now: now}
			byDir[dir], list = v, append(list, v)
		}
		v.add(path)
	}
	for dir, v := range byDir {
		slices.SortStableFunc(v.files, func(a, b surveyed) int {
			if a.archived != b.archived { // what is written is never dropped
				return map[bool]int{true: -1, false: 1}[a.archived]
			}
			return int(min(1, max(-1, int64(a.hdr.headRealtime-b.hdr.headRealtime))))
		})
		v.learn(dir)
	}
	return list
}

// add looks at one file; what cannot be read or holds nothing is left out.
func (v *survey) add(path string) {
	f, err := openFile(path)
	if err != nil {
		return
	}
	defer f.close()
	st, err := f.fd.Stat()
	if err != nil || f.hdr.entries == 0 || f.hdr.tailRealtime < f.hdr.headRealtime || f.hdr.tailRealtime >= 1<<55 {
		return
	}
	tables := max(f.hdr.size, f.hdr.dataHash+f.hdr.dataHashLen, f.hdr.fieldHash+f.hdr.fieldHashLen)
	end := min(f.hdr.tailObject, f.size)
	v.files = append(v.files, surveyed{path: path, hdr: f.hdr, usage: blocks(st), content: int64(end - min(end, tables)),
		archived: isArchivedName(path)})
}

// learn finds out what its journald keeps to, and how fast it writes.
func (v *survey) learn(dir string) {
	namespace, prefix, ok := ownDir(dir)
	if !ok {
		return
	}
	size, free, err := space(dir)
	if err != nil {
		return
	}
	v.own, v.limits = true, limitsOf(readKeeping(systemDirs, namespace, prefix), size)
	used := int64(0)
	for i := range v.files {
		used += v.files[i].usage
	}
	v.keeps = v.limits.use(used, free)
	v.rate = max(v.rateOver(time.Hour), v.rateOver(5*time.Minute))
}

// ownDir reports whether a journald of this machine writes into dir, and of
// which namespace; prefix is how its configuration calls what concerns dir.
func ownDir(dir string) (namespace, prefix string, ok bool) {
	root, base := filepath.Split(filepath.Clean(dir))
	id, namespace, _ := strings.Cut(base, ".")
	if id == "" || id != machineID() {
		return "", "", false
	}
	switch root = filepath.Clean(root); {
	case strings.HasSuffix(root, "/var/log/journal"):
		return namespace, "System", true
	case strings.HasSuffix(root, "/run/log/journal"):
		return namespace, "Runtime", true
	}
	return "", "", false
}

// rateOver returns the bytes of content per second over the last span, or as
// far back as there is something.
func (v *survey) rateOver(span time.Duration) float64 {
	since, first := v.now.Add(-span), v.now
	bytes := 0.0
	for i := range v.files {
		f := &v.files[i]
		head := time.UnixMicro(int64(f.hdr.headRealtime))
		if head.Before(first) {
			first = head
		}
		switch {
		case !head.Before(since):
			bytes += float64(f.content)
		case time.UnixMicro(int64(f.hdr.tailRealtime)).After(since):
			bytes += f.contentSince(since)
		}
	}
	if first.Before(since) {
		first = since
	}
	if took := v.now.Sub(first).Seconds(); took > 0 {
		return bytes / took
	}
	return 0
}

// contentSince returns the bytes that were written into the file since t.
func (s *surveyed) contentSince(t time.Time) float64 {
	f, err := openFile(s.path)
	if err != nil {
		return 0
	}
	defer f.close()
	us := microsOf(t)
	idx := f.searchEntries(f.hdr.entries, func(_ uint64, l *location) bool { return l.realtime >= us })
	off, err := f.itemAt(f.chain(f.hdr.entryArray, f.hdr.entries), idx)
	if err != nil || off > f.hdr.tailObject {
		return 0
	}
	return float64(f.hdr.tailObject - off)
}

// risk returns how much lies behind from, and when the first of it is dropped;
// below 0 if that is not known.
func (v *survey) risk(from *location) (bytes int64, left time.Duration) {
	first := -1
	for i := range v.files {
		n := v.files[i].behind(from)
		if n > 0 && first < 0 {
			first = i
		}
		bytes += n
	}
	if first < 0 || !v.own {
		return bytes, -1
	}
	return bytes, v.left(first)
}

// behind returns the bytes of content behind from.
func (s *surveyed) behind(from *location) int64 {
	if from == nil {
		return s.content
	}
	head, tail, at := s.hdr.headRealtime, s.hdr.tailRealtime, from.realtime
	if s.hdr.seqnumID == from.seqnumID {
		head, tail, at = s.hdr.headSeqnum, s.hdr.tailSeqnum, from.seqnum
	}
	switch {
	case tail <= at:
		return 0
	case at < head:
		return max(1, s.content)
	}
	return max(1, int64(float64(s.content)*float64(tail-at)/float64(tail-head+1)))
}

// left estimates when file k is dropped.
//
// journald rotates all its files together, when one is full or old, and then drops the oldest
// archived ones until their bytes and number are within the limits; what is
// written is never dropped, nor counted.
func (v *survey) left(k int) time.Duration {
	var kept, number int64 // of archived files, from k on
	r := v.round()
	for i := k; i < len(v.files); i++ {
		if v.files[i].archived {
			kept += v.files[i].usage
			number++
		}
	}
	rounds := math.Inf(1)
	if v.keeps > 0 {
		rounds = math.Floor(float64(v.keeps-kept)/r.usage) + 1
	}
	if v.limits.maxFiles > 0 {
		rounds = min(rounds, math.Floor((float64(v.limits.maxFiles-number)-r.files)/r.files)+1)
	}
	rounds = max(1, rounds)
	seconds := r.first
	if rounds > 1 {
		seconds += (rounds - 1) * r.takes
	}
	if v.limits.retention > 0 {
		age := v.now.Sub(time.UnixMicro(int64(v.files[k].hdr.headRealtime)))
		seconds = min(seconds, max(0, (v.limits.retention-age).Seconds()))
	}
	if seconds > forever.Seconds()/2 {
		return -1
	}
	return time.Duration(seconds * float64(time.Second))
}

// round is what lies between two rotations.
type round struct {
	usage float64 // bytes on disk that it adds
	files float64 // and files
	takes float64 // seconds
	first float64 // seconds until the one that is under way ends
}

func (v *survey) round() round {
	var archived, system, content, usage, active, writing float64
	oldest := v.now
	for i := range v.files {
		f := &v.files[i]
		if !f.archived {
			active += float64(f.content)
			writing++
			if head := time.UnixMicro(int64(f.hdr.headRealtime)); head.Before(oldest) {
				oldest = head
			}
			continue
		}
		archived++
		content += float64(f.content)
		usage += float64(f.usage)
		if strings.HasPrefix(filepath.Base(f.path), "system@") {
			system++
		}
	}
	rounds := max(1, system)
	r := round{usage: usage / rounds, files: max(1, archived/rounds)}
	full := content / rounds
	if archived == 0 {
		r.usage, r.files, full = float64(v.limits.fileSize), max(1, writing), v.whenFull()
	}
	if active > full {
		full = max(active, v.whenFull()) // those before were rotated early
	}
	r.usage, r.takes, r.first = max(r.usage, 1), math.Inf(1), math.Inf(1)
	if v.rate > 0 {
		r.takes, r.first = full/v.rate, (full-active)/v.rate
	}
	if limit := v.limits.fileTime.Seconds(); limit > 0 && r.takes > limit {
		r.usage = max(1, r.usage*limit/r.takes)
		r.takes, r.first = limit, max(0, limit-v.now.Sub(oldest).Seconds())
	}
	return r
}

// whenFull estimates at how much content the file that is written now will be
// rotated: at its greatest size, or when three quarters of its hash table are used.
func (v *survey) whenFull() float64 {
	full := float64(v.limits.fileSize)
	for i := range v.files {
		f := &v.files[i]
		if slots := float64(f.hdr.dataHashLen / hashItemSize); !f.archived && f.hdr.data > 0 && slots > 0 {
			full = min(full, float64(f.content)*slots*3/4/float64(f.hdr.data))
		}
	}
	return full
}
