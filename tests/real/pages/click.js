// Clicks through the page as a reader would; the test appends it to a page and reads what it leaves in the title.
{
  const problems = [];
  const expect = (what, truth) => truth || problems.push(what);
  const frame = () => new Promise((done) => setTimeout(done, 20));
  const all = (which) => [...document.querySelectorAll(which)];
  const press = async (key) => { document.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true})); await frame(); };
  const click = async (element) => { element.dispatchEvent(new MouseEvent("click", {bubbles: true})); await frame(); };
  const shown = () => JSON.parse(document.querySelector("#moment pre").textContent);
  const looksAt = () => Number(document.getElementById("now").value);
  window.addEventListener("error", (event) => problems.push(event.message));

  async function clickThrough() {
    while (document.body.dataset.ready !== "yes") await frame();
    await frame();
    const dots = () => all("#view .dot[data-go]");
    expect("moments are drawn", dots().length > 5);
    expect("arrows are drawn", all("#view .arrow").length > 2);

    const dot = dots()[3];
    await click(dot);
    expect("a click looks at that moment", looksAt() === Number(dot.dataset.go));
    expect("its record is shown", shown().event !== undefined);

    const slider = document.getElementById("now");
    slider.value = slider.max;
    slider.dispatchEvent(new Event("input", {bubbles: true}));
    await frame();
    expect("the slider goes to the end", looksAt() === Number(slider.max));
    expect("beliefs are shown", document.getElementById("state").textContent.includes("●"));
    expect("what is kept is shown", /keeps (?!nothing)/.test(document.getElementById("state").textContent));
    expect("the map is drawn", all("#map svg circle").length > 2);

    const answered = data.moments.findLastIndex((moment) => moment.name === "Message" && typeof moment.cause === "number");
    show(answered);
    await frame();
    await click(document.getElementById("cause"));
    expect("the cause comes before", looksAt() === data.moments[answered].cause);
    await press("ArrowRight");
    expect("the arrow key goes to what came of it", data.moments[looksAt()].cause === data.moments[answered].cause);
    await press("ArrowUp");
    await press("PageDown");
    expect("a page key stays with the peer", looksAt() > 0);
    expect("the way is marked", all("#view .dot.on, #view .dot.now").length >= 1);

    const lanes = all("#view .lane").length;
    await click(document.querySelector("#heads button"));
    expect("a peer opens into its threads", all("#view .lane").length > lanes && all("#heads small").length > 1);
    await press("t");
    expect("true time is drawn", dots().length > 0);
    await press("+");
    await press("w");
    for (const arrow of all("#view .arrow.udp, #view .arrow.tcp")) {
      const height = (end) => Number(arrow.getAttribute(end));
      if (height("y2") < height("y1") - 7) problems.push("an arrow goes back");
    }

    const find = document.getElementById("find");
    find.value = data.overlay === "ring" ? "ping … pong" : "find_node nodes";
    if (data.moments.every((moment) => moment.sort !== "pong")) find.value = data.moments[answered].sort;
    find.dispatchEvent(new Event("change", {bubbles: true}));
    await frame();
    expect("a pattern is found", view.hits.length > 0);
    find.value = "nowhere";
    find.dispatchEvent(new Event("change", {bubbles: true}));
    expect("an unknown word gets the list", document.getElementById("found").value.includes("there are"));
    document.title = problems.length ? problems.join("; ") : "clicked through";
  }
  clickThrough().catch((error) => (document.title = `${error.stack}`));
}
