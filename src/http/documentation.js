/**
 * The script of the page /swagger: shows the API's document. Where that needs an API key it asks for one first, and keeps it in memory
 * alone: a page that is loaded anew asks anew.
 */
const form = document.querySelector("#ask");
const field = document.querySelector("#key");

form.addEventListener("submit", (event) => {
  event.preventDefault();
  void show(field.value.trim());
});
void show();

const dark = matchMedia("(prefers-color-scheme: dark)");
dark.addEventListener("change", setColors);
setColors();

/** Swagger UI is dark where it is told to. */
function setColors() {
  document.documentElement.classList.toggle("dark-mode", dark.matches);
}

async function show(key) {
  const problem = await findProblem(key);
  if (problem === undefined) {
    form.remove();
    return open(key);
  }
  form.hidden = false;
  field.focus();
  document.querySelector("#problem").textContent = problem;
}

/** Why the document cannot be read with this key: an empty text where nothing is missing but a key. In the words of the console. */
async function findProblem(key) {
  // Nothing else can be in a header.
  if (!/^[ -~]*$/.test(key ?? "")) return "The key has characters that no key has, expected printable ASCII.";
  const answer = await fetch("/swagger/json", { headers: toHeaders(key) }).catch(() => undefined);
  if (answer === undefined) return "the server does not answer";
  if (answer.ok) return undefined;
  if (answer.status === 401) return key === undefined ? "" : "This is not one of the server's API keys.";
  const problem = await answer.json().catch(() => undefined);
  return problem?.detail ?? `the answer is ${answer.status} ${answer.statusText}`.trimEnd();
}

function open(key) {
  const ui = SwaggerUIBundle({
    url: "/swagger/json",
    dom_id: "#ui",
    validatorUrl: null,
    deepLinking: true,
    requestInterceptor(request) {
      // With a call it goes where the document says that it is needed: for a client's call it would be taken for a token.
      if (request.loadSpec) Object.assign(request.headers, toHeaders(key));
      return request;
    },
    onComplete() {
      if (key !== undefined) ui.preauthorizeApiKey("apiKey", key);
    },
  });
}

function toHeaders(key) {
  return key === undefined ? {} : { Authorization: `Bearer ${key}` };
}
