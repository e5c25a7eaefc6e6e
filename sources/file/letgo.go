package file

import (
	"runtime"
	"sync/atomic"
)

// letGoMost is how many inputs may be let go of before the collector is asked to come. It closes
// their files; in a quiet daemon it comes every two minutes, and meanwhile rotations and
// reloads would use up the descriptors.
const letGoMost = 256

var lettingGo atomic.Int64

// letGo says that n inputs will be out of reach, now or soon.
func letGo(n int) {
	if lettingGo.Add(int64(n)) >= letGoMost && lettingGo.Swap(0) >= letGoMost {
		go runtime.GC()
	}
}
