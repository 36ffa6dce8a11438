(function () {
  "use strict";

  function start(root) {
    var data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
    var canvas = root.querySelector("canvas");
    var context = canvas.getContext("2d");
    var parts = {};
    root.querySelectorAll("[data-part]").forEach(function (e) { parts[e.dataset.part] = e; });
    var slices = data.sprites.length;
    var state = { slice: data.slice, frame: data.frame, all: false, outlines: true, playing: false, speed: 1 };
    var shapes = data.overlays.map(function (overlay) {
      return overlay.paths.map(function (frames) { return frames.map(function (d) { return d ? new Path2D(d) : null; }); });
    });
    var images = data.sprites.map(function (uri) {
      var image = new Image();
      image.onload = draw;
      image.src = uri;
      return image;
    });

    function grid() {
      if (!state.all) { return { columns: 1, rows: 1 }; }
      var best = Math.ceil(Math.sqrt(slices * data.heightMm / data.widthMm));
      return { columns: best, rows: Math.ceil(slices / best) };
    }

    function resize() {
      var g = grid();
      var ratio = window.devicePixelRatio || 1;
      var width = Math.max(240, Math.round((canvas.clientWidth || 480) * ratio));
      var height = Math.round(width / g.columns * data.heightMm / data.widthMm) * g.rows;
      if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
    }

    function tile(slice, x, y, width, height, single) {
      var image = images[slice];
      if (image.complete && image.naturalWidth) {
        var column = state.frame % data.columns, row = Math.floor(state.frame / data.columns);
        context.drawImage(image, column * data.width, row * data.height, data.width, data.height, x, y, width, height);
      }
      var pixels = canvas.width / (canvas.clientWidth || canvas.width);
      context.save();
      context.beginPath();
      context.rect(x, y, width, height);
      context.clip();
      if (state.outlines) {
        context.save();
        context.translate(x, y);
        context.scale(width / (data.widthMm * 10), height / (data.heightMm * 10));
        context.lineJoin = "round";
        context.lineWidth = (single ? 1.8 : 1.2) * pixels * data.widthMm * 10 / width;
        shapes.forEach(function (shape, n) {
          var path = shape[slice][state.frame];
          if (path) { context.strokeStyle = data.overlays[n].color; context.stroke(path); }
        });
        context.restore();
      }
      context.font = (single ? 13 : 11) * pixels + "px system-ui, sans-serif";
      context.fillStyle = "rgba(255,255,255,.85)";
      context.shadowColor = "#000";
      context.shadowBlur = 3 * pixels;
      var pad = 6 * pixels;
      context.textBaseline = "top";
      context.textAlign = "left";
      context.fillText(single ? (state.frame + 1) + "/" + data.frames : data.sliceNames[slice], x + pad, y + pad);
      if (single) {
        var l = data.letters;
        context.textBaseline = "middle";
        if (l.left) { context.fillText(l.left, x + pad, y + height / 2); }
        context.textAlign = "right";
        if (l.right) { context.fillText(l.right, x + width - pad, y + height / 2); }
        context.textAlign = "center";
        context.textBaseline = "bottom";
        if (l.bottom) { context.fillText(l.bottom, x + width / 2, y + height - pad); }
        context.textBaseline = "top";
        if (l.top) { context.fillText(l.top, x + width / 2, y + pad); }
      }
      context.restore();
    }

    function draw() {
      resize();
      context.imageSmoothingEnabled = true;
      context.imageSmoothingQuality = "high";
      context.fillStyle = "#000";
      context.fillRect(0, 0, canvas.width, canvas.height);
      var g = grid();
      var width = canvas.width / g.columns, height = canvas.height / g.rows;
      if (state.all) {
        for (var s = 0; s < slices; s += 1) {
          tile(s, (s % g.columns) * width, Math.floor(s / g.columns) * height, width, height, false);
        }
      } else {
        tile(state.slice, 0, 0, width, height, true);
      }
      var slice = state.all ? "All slices" : data.sliceNames[state.slice];
      parts["slice-name"].textContent = slice;
      parts["frame-name"].textContent = data.frameNames[state.frame];
      canvas.setAttribute("aria-label", slice + ", " + data.frameNames[state.frame]);
      if (parts.frame) {
        parts.frame.value = state.frame;
        parts.frame.setAttribute("aria-valuetext", data.frameNames[state.frame]);
      }
      if (parts.slice) {
        parts.slice.value = state.slice;
        parts.slice.disabled = state.all;
        parts.slice.setAttribute("aria-valuetext", data.sliceNames[state.slice]);
      }
    }

    var last = 0, carried = 0;
    function tick(now) {
      if (!state.playing) { return; }
      var step = Math.max(data.frameMs, data.frames < 5 ? 500 : 0) / state.speed;
      carried += Math.min(now - last, 250);
      last = now;
      if (carried >= step) {
        state.frame = (state.frame + Math.floor(carried / step)) % data.frames;
        carried %= step;
        draw();
      }
      window.requestAnimationFrame(tick);
    }
    function play(on) {
      if (!parts.play || state.playing === on) { return; }
      state.playing = on;
      parts.play.textContent = on ? "Pause" : "Play";
      parts.play.setAttribute("aria-pressed", String(on));
      if (on) { last = window.performance.now(); carried = 0; window.requestAnimationFrame(tick); }
    }
    function frame(n) { play(false); state.frame = (n + data.frames) % data.frames; draw(); }
    function slice(n) { if (!state.all) { state.slice = Math.min(Math.max(n, 0), slices - 1); draw(); } }
    function outlines(on) { state.outlines = on; parts.outlines.checked = on; draw(); }
    function all(on) { if (parts.all) { state.all = on; parts.all.checked = on; draw(); } }

    if (parts.play) {
      parts.play.addEventListener("click", function () { play(!state.playing); });
      parts.back.addEventListener("click", function () { frame(state.frame - 1); });
      parts.next.addEventListener("click", function () { frame(state.frame + 1); });
      parts.frame.addEventListener("input", function () { frame(Number(parts.frame.value)); });
    }
    if (parts.speed) {
      parts.speed.addEventListener("input", function () {
        state.speed = Math.pow(2, Number(parts.speed.value));
        parts.speed.setAttribute("aria-valuetext", state.speed + " times real time");
      });
    }
    if (parts.slice) { parts.slice.addEventListener("input", function () { slice(Number(parts.slice.value)); }); }
    parts.outlines.addEventListener("change", function () { outlines(parts.outlines.checked); });
    if (parts.all) { parts.all.addEventListener("change", function () { all(parts.all.checked); }); }
    root.querySelectorAll("[data-goto]").forEach(function (button) {
      button.addEventListener("click", function () { frame(Number(button.dataset.goto)); });
    });
    canvas.addEventListener("click", function (event) {
      root.focus({ preventScroll: true });
      if (!state.all) { play(!state.playing); return; }
      var g = grid(), box = canvas.getBoundingClientRect();
      var n = Math.floor((event.clientY - box.top) / box.height * g.rows) * g.columns
        + Math.floor((event.clientX - box.left) / box.width * g.columns);
      if (n < slices) { state.slice = n; all(false); }
    });
    root.addEventListener("keydown", function (event) {
      if (event.ctrlKey || event.metaKey || event.altKey) { return; }
      var range = event.target.type === "range", own = event.target !== root;
      var key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
      if (key === "c") { outlines(!state.outlines); }
      else if (key === "a") { all(!state.all); }
      else if (key === " " && (!own || range)) { play(!state.playing); }
      else if (range || own) { return; }
      else if (key === "ArrowLeft") { frame(state.frame - 1); }
      else if (key === "ArrowRight") { frame(state.frame + 1); }
      else if (key === "ArrowUp") { slice(state.slice - 1); }
      else if (key === "ArrowDown") { slice(state.slice + 1); }
      else { return; }
      event.preventDefault();
    });
    window.addEventListener("resize", draw);
    draw();
  }

  document.querySelectorAll(".cine:not([data-ready])").forEach(function (root) {
    root.setAttribute("data-ready", "");
    start(root);
  });
}());
